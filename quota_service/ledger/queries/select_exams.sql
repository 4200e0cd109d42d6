-- Every exam that is not archived, with its shard, as the API holds them in memory. The definition is told where the
-- reader knows another revision: those of large exams are megabytes.
-- $1 exams the reader knows, text[]
-- $2 the revision of each, bigint[], by position
SELECT e.id,
       CASE WHEN k.revision IS DISTINCT FROM e.revision
            THEN e.definition::text END AS definition,
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
       s.epoch,
       s.state,
       s.retired_at IS NOT NULL AS is_retired
FROM   exams e
JOIN   shards s ON s.exam = e.id
LEFT   JOIN unnest($1::text[], $2::bigint[]) AS k (exam, revision) ON k.exam = e.id
WHERE  e.archived_at IS NULL
