-- The shards of archived exams that Redis may not have forgotten yet.
SELECT s.exam, s.epoch
FROM   shards s
JOIN   exams e ON e.id = s.exam
WHERE  s.state = 'fenced'
AND    e.archived_at IS NOT NULL
ORDER  BY s.exam
