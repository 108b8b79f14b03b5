-- The state of the walk over the history up to one event, so that a program need not begin at the first. It is only used if
-- its code, made with the fingerprint key, is right and the event at its end has that head.
CREATE TABLE history_checkpoint (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    format TEXT NOT NULL,
    size   INTEGER NOT NULL,          -- events walked
    head   TEXT NOT NULL,             -- digest of the last of them
    state  BLOB NOT NULL,             -- JSON, one zstd frame
    mac    BLOB NOT NULL              -- HMAC-SHA-256 over all of the above
) STRICT;
