-- A page of the holds that an extension has moved, as far as the journal is drained, by their steps.
-- $1 exam, text
-- $2 after this epoch, bigint
-- $3 and version, bigint
-- $4 limit, integer
SELECT subject, epoch, version
FROM   journal
WHERE  exam = $1
AND    shard = 0
AND    verb = 'extend'
AND    (epoch, version) > ($2, $3)
ORDER  BY epoch, version
LIMIT  $4
