-- A page of the reservations of a shard that have ended, however long ago: released, expired or
-- refunded. A refund may be known before the journal has it.
-- $1 exam, text
-- $2 after this reservation, text
-- $3 limit, integer
SELECT reservation
FROM   (
    (
        SELECT id AS reservation
        FROM   reservations
        WHERE  exam = $1
        AND    id > $2
        AND    state IN ('released', 'expired', 'refunded')
        ORDER  BY id
        LIMIT  $3
    )
    UNION
    (
        SELECT reservation
        FROM   refunds
        WHERE  exam = $1
        AND    reservation > $2
        ORDER  BY reservation
        LIMIT  $3
    )
) AS ended
ORDER  BY reservation
LIMIT  $3
