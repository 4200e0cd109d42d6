-- An exam has one shard: every column `shard` holds 0, and `exams.shards` 1. Inserts do not name them from
-- now on; queries do where an index has `shard` after `exam`. Processes of the version before read and write
-- them as they did, and `settle_payments` keeps its argument `shard_numbers`. A later version drops them, with
-- keys and indexes made anew without them.
ALTER TABLE shards ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE journal_positions ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE journal ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE journal_quarantine ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE journal_gaps ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE reservations ALTER COLUMN shard SET DEFAULT 0;
ALTER TABLE recoveries ALTER COLUMN shard SET DEFAULT 0;
