-- Steps of a shard that are in no store were found missing.
-- $1 exam, text
-- $2 shard, integer
-- $3 from version, bigint
-- $4 to version, bigint
-- $5 epoch, bigint
-- $6 records written again, bigint
INSERT INTO journal_gaps (exam, shard, from_version, to_version, epoch, records)
VALUES ($1, $2, $3, $4, $5, $6)
