-- Removes entries of the waiting list of an exam; answers them.
-- $1 exam, text
-- $2 limit, integer
DELETE FROM waiting_list_entries
WHERE  ctid = ANY (ARRAY(
    SELECT ctid
    FROM   waiting_list_entries
    WHERE  exam = $1
    LIMIT  $2
    FOR    UPDATE SKIP LOCKED
))
RETURNING serial
