-- How many journal entries of a shard are between two steps.
-- $1 exam, text
-- $2 after this epoch, bigint
-- $3 and version, bigint
-- $4 through this epoch, bigint
-- $5 and version, bigint
SELECT count(*) AS entries
FROM   journal
WHERE  exam = $1
AND    shard = 0
AND    (epoch, version) > ($2, $3)
AND    (epoch, version) <= ($4, $5)
