-- The extensions of an exam that are not ended, in the order in which they are carried out.
-- $1 exam, text
SELECT h.id, h.exam, h.venue, h.subject, h.reservation, h.ms, h.as_of,
       h.epoch, h.began_epoch, h.began_version,
       a.key_id, a.request_id, a.at
FROM   hold_extensions h
JOIN   ops_actions a ON a.id = h.action
WHERE  h.exam = $1
AND    h.ended_at IS NULL
ORDER  BY h.id
