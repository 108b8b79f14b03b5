-- How receivers are doing, and how it went with what waits, is told by the history: these columns are a copy for people.
DROP TABLE receivers;
UPDATE outbox SET next_at = created_at, attempts = 0, first_at = NULL, passed = 0, claimed_to = 0 WHERE state = 'waiting';
-- Nothing that is decided by is asked of an index of these any more; `history INSTANCE` still is.
DROP INDEX events_by_kind;
DROP INDEX outbox_by_instance;
DROP INDEX outbox_waiting;
DROP INDEX outbox_done;
