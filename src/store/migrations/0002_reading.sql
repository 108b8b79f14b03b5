-- Suspect readings and refused credentials are remembered as blind sections are; of what was not believed, the digest.
CREATE TABLE section_news_2 (
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    section     TEXT NOT NULL,        -- or what a credential is called
    news        TEXT NOT NULL CHECK (news IN ('blind', 'suspect', 'unbaselined', 'refused')),
    since       INTEGER NOT NULL,
    cycles      INTEGER NOT NULL,
    is_told     INTEGER NOT NULL,
    suspected   TEXT,
    PRIMARY KEY (instance_id, section)
) STRICT, WITHOUT ROWID;
INSERT INTO section_news_2 SELECT instance_id, section, news, since, cycles, is_told, NULL FROM section_news;
DROP TABLE section_news;
ALTER TABLE section_news_2 RENAME TO section_news;

-- How a snapshot was read, the first time: one zstd frame of JSON, one entry per request.
CREATE TABLE collections (
    snapshot_id INTEGER PRIMARY KEY REFERENCES snapshots (id),
    at          INTEGER NOT NULL,
    body        BLOB NOT NULL
) STRICT;
