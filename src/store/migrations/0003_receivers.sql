-- What is sent, byte for byte, on every try; mail has none.
ALTER TABLE outbox ADD COLUMN format TEXT;
ALTER TABLE outbox ADD COLUMN body TEXT;

-- How receivers are doing. Without a row one is well.
CREATE TABLE receivers (
    name        TEXT PRIMARY KEY,
    target      TEXT NOT NULL,            -- digest of how it is configured: another one begins anew
    failures    INTEGER NOT NULL,         -- in a row
    failed_at   INTEGER,
    disabled_by INTEGER                   -- the event of the history that says so
) STRICT, WITHOUT ROWID;
