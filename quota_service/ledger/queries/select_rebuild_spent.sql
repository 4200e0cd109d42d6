-- A page of the reservations of a shard that have ended, however long ago: released, expired or
-- refunded. A refund may be known before the journal has it.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this reservation, text
-- $4 limit, integer
SELECT reservation
FROM   (
    (
        SELECT id AS reservation
        FROM   reservations
        WHERE  exam = $1
        AND    shard = $2
        AND    id > $3
        AND    state IN ('released', 'expired', 'refunded')
        ORDER  BY id
        LIMIT  $4
    )
    UNION
    (
        SELECT reservation
        FROM   refunds
        WHERE  exam = $1
        AND    split_part(reservation, '.', 2)::integer = $2
        AND    reservation > $3
        ORDER  BY reservation
        LIMIT  $4
    )
) AS ended
ORDER  BY reservation
LIMIT  $4
