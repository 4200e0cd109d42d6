-- The seat releases of an exam, by time.
-- $1 exam, text
SELECT id,
       at,
       announce,
       seats::text AS seats,
       source,
       state,
       reason,
       planned_at,
       ended_at
FROM   seat_releases
WHERE  exam = $1
ORDER  BY at, id
