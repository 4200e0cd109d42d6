-- The stored definition of one exam and its shard, locked against another import but not against
-- bookings, which refer to the exam.
-- $1 exam, text
SELECT e.id,
       e.definition::text AS definition,
       e.revision,
       e.id_key,
       e.closed,
       e.pauses::text AS pauses,
       e.resumed_at_ms,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'announce', r.announce, 'seats', r.seats,
                                                     'at_ms', (extract(epoch FROM r.at) * 1000)::bigint)
                                  ORDER BY r.at, r.id), '[]')::text
        FROM   seat_releases r
        WHERE  r.exam = e.id
        AND    r.state = 'planned'
        AND    r.announce <> 'nothing') AS announced,
       e.archived_at IS NOT NULL AS archived,
       s.epoch,
       s.state,
       s.retired_at IS NOT NULL AS is_retired
FROM   exams e
JOIN   shards s ON s.exam = e.id
WHERE  e.id = $1
FOR    NO KEY UPDATE OF e
