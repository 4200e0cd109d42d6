-- Adds refusals to those of their minute; of an exam that is not known, nothing.
-- $1 rows, text (JSON)
INSERT INTO refusals AS kept (exam, candidate, reservation, slug, minute, count, last_at, key_id,
                              request_id)
SELECT v.exam, v.candidate, v.reservation, v.slug, to_timestamp(v.minute * 60), v.count,
       to_timestamp(v.last_ms / 1000.0), v.key_id, v.request_id
FROM   json_to_recordset($1::text::json)
       AS v (exam text, candidate text, reservation text, slug text, minute bigint, count bigint,
             last_ms bigint, key_id text, request_id text)
WHERE  EXISTS (SELECT FROM exams e WHERE e.id = v.exam)
ORDER  BY v.exam, v.candidate, v.reservation, v.slug, v.minute
ON CONFLICT ON CONSTRAINT refusals_pk DO UPDATE
SET    count = kept.count + excluded.count,
       last_at = excluded.last_at,
       key_id = excluded.key_id,
       request_id = excluded.request_id
