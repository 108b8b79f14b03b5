-- When it was tried first, and whether the receiver took something else while it was refused.
ALTER TABLE outbox ADD COLUMN first_at INTEGER;
ALTER TABLE outbox ADD COLUMN passed INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET first_at = created_at WHERE attempts > 0 OR last_outcome <> '';
-- Until when the receiver asked to be left alone.
ALTER TABLE receivers ADD COLUMN paused_until INTEGER;
