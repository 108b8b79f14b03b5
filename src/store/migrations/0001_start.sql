-- Instants are Unix milliseconds.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Canonical documents, one zstd frame each, named by the SHA-256 of the uncompressed bytes.
CREATE TABLE documents (
    digest TEXT PRIMARY KEY,
    body   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE instances (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    next_due_at    INTEGER
) STRICT;

-- What the settings were; equal settings are one row, however often they were read.
CREATE TABLE snapshots (
    id          INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    digest      TEXT NOT NULL,
    resource    TEXT NOT NULL,
    sections    TEXT NOT NULL,        -- {section: {state, digest}}
    UNIQUE (instance_id, digest)
) STRICT;

-- One row per cycle.
CREATE TABLE cycles (
    id          INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    at          INTEGER NOT NULL,
    duration    INTEGER NOT NULL,     -- milliseconds
    requests    INTEGER NOT NULL,
    verdict     TEXT NOT NULL,
    snapshot_id INTEGER REFERENCES snapshots (id)
) STRICT;
CREATE INDEX cycles_by_instance ON cycles (instance_id, at);

-- Signed statements, byte for byte. Everything else about a baseline is read out of them, verified, every time.
CREATE TABLE statements (
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    sequence    INTEGER NOT NULL,
    statement   BLOB NOT NULL,
    signature   TEXT NOT NULL,
    imported_at INTEGER NOT NULL,
    UNIQUE (instance_id, sequence, statement, signature)
) STRICT;

CREATE TABLE drifts (
    id          TEXT PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    fingerprint TEXT NOT NULL,
    path        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    before      TEXT NOT NULL,
    after       TEXT NOT NULL,
    is_member   INTEGER NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('open', 'reverted', 'approved')),
    first_seen  INTEGER NOT NULL,
    last_good   INTEGER,
    closed_at   INTEGER,
    closed_by   TEXT NOT NULL DEFAULT '[]',
    reopened    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (instance_id, fingerprint)
) STRICT;

-- Sections that cannot be read although the baseline holds them, or that it does not hold.
CREATE TABLE section_news (
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    section     TEXT NOT NULL,
    news        TEXT NOT NULL CHECK (news IN ('blind', 'unbaselined')),
    since       INTEGER NOT NULL,
    cycles      INTEGER NOT NULL,
    is_told     INTEGER NOT NULL,
    PRIMARY KEY (instance_id, section)
) STRICT, WITHOUT ROWID;

-- The history: each body holds the digest of the one before.
CREATE TABLE events (
    seq    INTEGER PRIMARY KEY,
    body   BLOB NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;

CREATE TABLE outbox (
    id           TEXT PRIMARY KEY,
    receiver     TEXT NOT NULL,
    instance     TEXT NOT NULL,
    alert        TEXT NOT NULL,
    thread       TEXT,                -- id of the message this one follows up
    subject      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    next_at      INTEGER NOT NULL,
    claimed_to   INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_outcome TEXT NOT NULL DEFAULT '',
    done_at      INTEGER
) STRICT;
CREATE INDEX outbox_waiting ON outbox (receiver, created_at) WHERE state = 'waiting';

-- The mail thread of an instance at a receiver, while something is open.
CREATE TABLE threads (
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    receiver    TEXT NOT NULL,
    root        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    severity    TEXT NOT NULL,
    PRIMARY KEY (instance_id, receiver)
) STRICT, WITHOUT ROWID;
