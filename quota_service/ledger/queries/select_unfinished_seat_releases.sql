-- The seat releases that are to happen or to be applied next, of exams that are not archived.
-- $1 limit, integer
SELECT r.exam,
       r.id,
       r.at,
       r.state = 'done' AS is_done
FROM   seat_releases r
JOIN   exams e ON e.id = r.exam
WHERE  (r.state = 'planned' OR (r.state = 'done' AND r.applied_at IS NULL))
AND    e.archived_at IS NULL
ORDER  BY r.at, r.exam, r.id
LIMIT  $1
