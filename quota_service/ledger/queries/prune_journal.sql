-- Removes journal entries of an exam; answers them.
-- $1 exam, text
-- $2 limit, integer
DELETE FROM journal
WHERE  ctid = ANY (ARRAY(
    SELECT ctid
    FROM   journal
    WHERE  exam = $1
    LIMIT  $2
    FOR    UPDATE SKIP LOCKED
))
RETURNING version
