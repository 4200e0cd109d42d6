-- One number that changes with any result of `select_exams`.
SELECT coalesce(sum(hashtextextended(
           concat_ws('|', e.id, e.revision, s.epoch, s.state, s.retired_at IS NOT NULL,
                     e.archived_at IS NOT NULL),
           0
       )), 0)::text AS fingerprint
FROM   exams e
JOIN   shards s ON s.exam = e.id
