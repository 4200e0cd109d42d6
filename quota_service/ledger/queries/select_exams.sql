-- Every exam with its shards, as the API holds them in memory.
SELECT e.id,
       e.definition::text AS definition,
       e.revision,
       e.id_key,
       array_agg(s.epoch ORDER BY s.shard) AS epochs,
       array_agg(s.state ORDER BY s.shard) AS states,
       array_agg(s.retired_at IS NOT NULL ORDER BY s.shard) AS retired
FROM   exams e
JOIN   shards s ON s.exam = e.id
GROUP  BY e.id
