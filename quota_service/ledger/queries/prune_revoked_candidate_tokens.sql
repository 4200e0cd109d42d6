-- Removes revocations whose tokens have all ended; answers how many.
-- $1 limit, integer
WITH gone AS (
    DELETE FROM revoked_candidate_tokens
    WHERE  ctid = ANY (ARRAY(
        SELECT ctid
        FROM   revoked_candidate_tokens
        WHERE  until <= now()
        LIMIT  $1
        FOR    UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) AS count
FROM   gone
