-- Messages that were never tried and are folded into one that says what they say.
CREATE TABLE outbox_2 (
    id           TEXT PRIMARY KEY,
    receiver     TEXT NOT NULL,
    instance     TEXT NOT NULL,
    alert        TEXT NOT NULL,
    thread       TEXT,                -- id of the message this one follows up
    subject      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead', 'folded')),
    next_at      INTEGER NOT NULL,
    claimed_to   INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_outcome TEXT NOT NULL DEFAULT '',
    done_at      INTEGER,
    format       TEXT,                -- what is sent, byte for byte, on every try; mail has none
    body         TEXT
) STRICT;
INSERT INTO outbox_2 SELECT id, receiver, instance, alert, thread, subject, created_at, state, next_at, claimed_to, attempts,
                            last_outcome, done_at, format, body FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
CREATE INDEX outbox_waiting ON outbox (receiver, created_at) WHERE state = 'waiting';
CREATE INDEX outbox_done ON outbox (done_at) WHERE state <> 'waiting';
