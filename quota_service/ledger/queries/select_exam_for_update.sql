-- The stored definition of one exam and its shard, locked against another import but not against
-- bookings, which refer to the exam.
-- $1 exam, text
SELECT e.id,
       e.definition::text AS definition,
       e.revision,
       e.id_key,
       e.closed,
       e.pauses::text AS pauses,
       e.archived_at IS NOT NULL AS archived,
       s.epoch,
       s.state,
       s.retired_at IS NOT NULL AS is_retired
FROM   exams e
JOIN   shards s ON s.exam = e.id
WHERE  e.id = $1
FOR    NO KEY UPDATE OF e
