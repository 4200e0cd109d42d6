-- Gives the next numbers to events that can be told: what happened to a reservation before is told, or is told
-- in this step. A hold is the first of a reservation, then they go by the steps they come after, the end of a hold
-- before what came of it; versions never start anew. What belongs to an epoch that is over waits for nothing more:
-- the recovery drained all there was. The candidate of a payment without a booking is known from the journal by
-- now. Answers how many.
-- $1 limit, integer
WITH ready AS (
    SELECT e.ctid AS place, e.kind <> 'reservation.held' AS follows, e.epoch, e.version,
           e.kind NOT IN ('reservation.released', 'reservation.expired') AS came_of_it, e.id
    FROM   events e
    LEFT   JOIN shards s ON s.exam = e.exam AND s.shard = 0
    LEFT   JOIN journal_positions p ON p.exam = e.exam AND p.shard = 0
    WHERE  e.sequence IS NULL
    AND    e.version IS NOT NULL
    AND    (e.version <= p.drained_version
            OR e.epoch < p.drained_epoch
            OR e.epoch < s.epoch AND s.state <> 'fenced'
            OR s.exam IS NULL)
    AND    CASE WHEN e.kind = 'waiting_list.offered' AND s.retired_at IS NULL
                THEN EXISTS (SELECT FROM reservations r WHERE r.id = e.reservation)
                ELSE true END
    ORDER  BY follows, e.epoch, e.version, came_of_it, e.id
    LIMIT  $1
), numbered AS (
    UPDATE events e
    SET    sequence  = told.number + (SELECT coalesce(max(sequence), 0) FROM events),
           candidate = CASE WHEN e.candidate IS NULL AND e.reservation IS NOT NULL
                            THEN (SELECT r.candidate FROM reservations r WHERE r.id = e.reservation)
                            ELSE e.candidate END
    FROM   (SELECT place, row_number() OVER (ORDER BY follows, epoch, version, came_of_it, id) AS number
            FROM   ready) AS told
    WHERE  e.ctid = told.place
    RETURNING e.sequence
)
SELECT count(*)
FROM   numbered
