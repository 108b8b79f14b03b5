-- Messages go in the order they were put in, whatever the clock said then: that is the order of their row numbers.
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (receiver) WHERE state = 'waiting';
