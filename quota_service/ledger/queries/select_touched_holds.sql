-- A page of journal entries after a step, in their order, each with the record of its reservation
-- where it is the last of the reservation and the reservation is not booked.
-- $1 exam, text
-- $2 after this epoch, bigint
-- $3 and version, bigint
-- $4 limit, integer
WITH page AS MATERIALIZED (  -- so that no plan reads a table as a whole
    SELECT exam || '.0.' || subject AS reservation, epoch, version
    FROM   journal
    WHERE  exam = $1
    AND    shard = 0
    AND    (epoch, version) > ($2, $3)
    ORDER  BY epoch, version
    LIMIT  $4
)
SELECT page.reservation, page.epoch, page.version, r.record
FROM   page
LEFT   JOIN LATERAL (
    SELECT record
    FROM   reservations
    WHERE  id = page.reservation
    AND    epoch = page.epoch
    AND    version = page.version
    AND    NOT EXISTS (SELECT FROM bookings b WHERE b.reservation = page.reservation)
    OFFSET 0
) AS r ON true
ORDER  BY page.epoch, page.version
