-- How many journal entries of a shard are between two steps.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this epoch, bigint
-- $4 and version, bigint
-- $5 through this epoch, bigint
-- $6 and version, bigint
SELECT count(*) AS entries
FROM   journal
WHERE  exam = $1
AND    shard = $2
AND    (epoch, version) > ($3, $4)
AND    (epoch, version) <= ($5, $6)
