-- Redis has the seats of releases; where seats are dealt out, a dealing is due.
-- $1 exam, text
-- $2 ids, text[]
-- $3 whether seats are dealt out, boolean
WITH applied AS (
    UPDATE seat_releases
    SET    applied_at = clock_timestamp()
    WHERE  exam = $1
    AND    id = ANY ($2::text[])
    AND    state = 'done'
    AND    applied_at IS NULL
    RETURNING exam
)
INSERT INTO waiting_lists (exam, is_due)
SELECT DISTINCT exam, true
FROM   applied
WHERE  $3::boolean
ON CONFLICT ON CONSTRAINT waiting_lists_pk DO UPDATE
SET    is_due = true
