-- One step of admission, fenced: only by the leader of this epoch while its lease lasts, only
-- forward, and only on what it knew of the definition, of a pause and of the rate ops have set.
-- Where the position moves it is kept with the healthy time at which it did; the newest one that is
-- longer ago than the grace is where turns have passed, and older ones are forgotten.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 threshold, text
-- $4 serving, bigint
-- $5 rate, float8
-- $6 drawn, bigint
-- $7 healthy time since the last step, ms, bigint
-- $8 paused as known, boolean
-- $9 fixed_rate as known, float8 (null: adaptive)
-- $10 grace, ms, bigint
-- $11 revision of the definition as known, bigint
WITH passed AS (
    SELECT s.step, s.threshold, s.serving
    FROM   waiting_room_steps s
    JOIN   waiting_rooms r ON r.exam = s.exam
    WHERE  s.exam = $1
    AND    s.healthy_ms <= r.healthy_ms + $7 - $10::bigint
    ORDER  BY s.healthy_ms DESC, s.step DESC
    LIMIT  1
), before AS (
    SELECT threshold, serving
    FROM   waiting_rooms
    WHERE  exam = $1
), stepped AS (
    UPDATE waiting_rooms
    SET    threshold      = $3,
           serving        = $4,
           late_threshold = greatest(late_threshold, (SELECT threshold FROM passed)),
           late_through   = greatest(late_through, (SELECT serving FROM passed)),
           rate           = $5,
           drawn          = greatest(drawn, $6),
           healthy_ms     = healthy_ms + $7,
           steps          = steps + 1,
           stepped_at     = clock_timestamp()
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    AND    threshold <= $3
    AND    serving <= $4
    AND    paused = $8
    AND    fixed_rate IS NOT DISTINCT FROM $9::float8
    AND    $11 = (SELECT revision FROM exams WHERE id = $1)
    RETURNING exam, threshold, serving, leader_epoch, healthy_ms, steps
), kept AS (
    INSERT INTO waiting_room_steps (exam, step, threshold, serving, leader_epoch, healthy_ms)
    SELECT s.exam, s.steps, s.threshold, s.serving, s.leader_epoch, s.healthy_ms
    FROM   stepped s, before b
    WHERE  (s.threshold, s.serving) IS DISTINCT FROM (b.threshold, b.serving)
), forgotten AS (
    DELETE FROM waiting_room_steps
    WHERE  exam = (SELECT exam FROM stepped)
    AND    step < (SELECT step FROM passed)
)
SELECT steps
FROM   stepped
