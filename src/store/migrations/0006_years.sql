-- The newest cycle of an instance is the last of its row numbers, however many there are; by snapshot they are looked for when
-- it is asked whether anybody still needs what it holds.
DROP INDEX cycles_by_instance;
CREATE INDEX cycles_by_instance ON cycles (instance_id);
CREATE INDEX cycles_by_snapshot ON cycles (snapshot_id) WHERE snapshot_id IS NOT NULL;
CREATE INDEX outbox_by_instance ON outbox (instance);
