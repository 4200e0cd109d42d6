-- Events whose step is not known, oldest first.
-- $1 limit, integer
SELECT id, exam
FROM   events
WHERE  version IS NULL
ORDER  BY id
LIMIT  $1
