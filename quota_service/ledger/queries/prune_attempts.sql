-- Removes the rows of expired attempts; answers them.
-- $1 settled more than this ago, interval
-- $2 limit, integer
DELETE FROM settled_pins
WHERE  ctid = ANY (ARRAY(
    SELECT ctid
    FROM   settled_pins
    WHERE  settled_at < now() - $1::interval
    LIMIT  $2
    FOR    UPDATE SKIP LOCKED
))
RETURNING reservation
