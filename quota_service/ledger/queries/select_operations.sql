-- A page of what ops did in an exam, the newest first; of what extended holds, how far that is.
-- $1 exam, text
-- $2 before this id, bigint; from the newest on where 0
-- $3 limit, integer
SELECT a.id, a.exam, a.at, a.action, a.subject, a.reason, a.key_id, a.request_id,
       a.detail::text AS detail, a.outcome,
       h.id AS extension, h.ms, h.extended, h.ended_at IS NOT NULL AS is_ended
FROM   ops_actions a
LEFT   JOIN hold_extensions h ON h.action = a.id
WHERE  a.exam = $1
AND    ($2 = 0 OR a.id < $2)
ORDER  BY a.id DESC
LIMIT  $3
