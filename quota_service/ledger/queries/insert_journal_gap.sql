-- Steps of a shard that are in no store were found missing.
-- $1 exam, text
-- $2 from version, bigint
-- $3 to version, bigint
-- $4 epoch, bigint
-- $5 records written again, bigint
INSERT INTO journal_gaps (exam, from_version, to_version, epoch, records)
VALUES ($1, $2, $3, $4, $5)
