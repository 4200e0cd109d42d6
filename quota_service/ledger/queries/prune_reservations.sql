-- Removes the journal's rows of reservations of an exam; bookings are the ledger's own. Answers
-- them.
-- $1 exam, text
-- $2 limit, integer
DELETE FROM reservations
WHERE  ctid = ANY (ARRAY(
    SELECT ctid
    FROM   reservations
    WHERE  exam = $1
    LIMIT  $2
    FOR    UPDATE SKIP LOCKED
))
RETURNING id
