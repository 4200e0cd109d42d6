-- Gives the next numbers to events that can be told: what happened to a reservation before is told, or is told
-- in this step. A hold is the first of a reservation, then they go by the steps they come after. What belongs to
-- an epoch that is over waits for nothing more: the recovery drained all there was. The candidate of a payment
-- without a booking is known from the journal by now. Answers how many.
-- $1 limit, integer
WITH ready AS (
    SELECT e.ctid AS place, e.kind <> 'reservation.held' AS follows, e.epoch, e.version, e.id, r.candidate
    FROM   events e
    LEFT   JOIN shards s ON s.exam = e.exam AND s.shard = 0
    LEFT   JOIN journal_positions p ON p.exam = e.exam AND p.shard = 0
    LEFT   JOIN reservations r
           ON r.id = e.reservation AND e.kind IN ('waiting_list.offered', 'payment.refund_due')
    WHERE  e.sequence IS NULL
    AND    e.version IS NOT NULL
    AND    ((e.epoch, e.version) <= (p.drained_epoch, p.drained_version)
            OR e.epoch < s.epoch AND s.state <> 'fenced'
            OR s.exam IS NULL)
    AND    (e.kind <> 'waiting_list.offered' OR r.id IS NOT NULL OR s.retired_at IS NOT NULL)
    ORDER  BY e.kind <> 'reservation.held', e.epoch, e.version, e.id
    LIMIT  $1
), numbered AS (
    UPDATE events e
    SET    sequence  = told.number + (SELECT coalesce(max(sequence), 0) FROM events),
           candidate = coalesce(e.candidate, told.candidate)
    FROM   (SELECT place, candidate, row_number() OVER (ORDER BY follows, epoch, version, id) AS number
            FROM   ready) AS told
    WHERE  e.ctid = told.place
    RETURNING e.sequence
)
SELECT count(*)
FROM   numbered
