-- Removes events that were told and are old; the last one stays, because numbers go on from it. Answers them.
-- $1 age, interval
-- $2 limit, integer
DELETE FROM events
WHERE  ctid = ANY (ARRAY(
    SELECT told.place
    FROM   (SELECT ctid AS place, created_at
            FROM   events
            WHERE  sequence < (SELECT max(sequence) FROM events)
            ORDER  BY sequence
            LIMIT  $2) AS told
    WHERE  told.created_at < now() - $1::interval
))
RETURNING sequence
