-- The stored definition of one exam and its shards, locked against another import but not against
-- bookings, which refer to the exam.
-- $1 exam, text
SELECT e.id,
       e.definition::text AS definition,
       e.revision,
       e.id_key,
       e.closed,
       e.archived_at IS NOT NULL AS archived,
       ARRAY(SELECT s.epoch FROM shards s WHERE s.exam = e.id ORDER BY s.shard) AS epochs,
       ARRAY(SELECT s.state FROM shards s WHERE s.exam = e.id ORDER BY s.shard) AS states,
       ARRAY(SELECT s.retired_at IS NOT NULL FROM shards s WHERE s.exam = e.id ORDER BY s.shard) AS retired
FROM   exams e
WHERE  e.id = $1
FOR    NO KEY UPDATE OF e
