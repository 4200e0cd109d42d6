-- Removes refusals that are older than a day; answers how many.
-- $1 limit, integer
WITH gone AS (
    DELETE FROM refusals
    WHERE  ctid = ANY (ARRAY(
        SELECT ctid
        FROM   refusals
        WHERE  minute <= now() - interval '1 day'
        LIMIT  $1
        FOR    UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) AS count
FROM   gone
