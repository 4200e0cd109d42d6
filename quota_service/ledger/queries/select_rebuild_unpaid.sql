-- A page of a shard's candidates by id, each with how many of its holds ended unpaid and when the
-- last of them did, in ms: its due time, the eleventh field of a record.
-- $1 exam, text
-- $2 after this candidate, text
-- $3 limit, integer
SELECT r.candidate, count(*) AS holds, max(split_part(r.record, '|', 11)::bigint) AS last_ms
FROM   reservations r
WHERE  r.exam = $1
AND    r.candidate > $2
AND    r.state IN ('released', 'expired')
AND    NOT EXISTS (SELECT FROM bookings b WHERE b.reservation = r.id)
GROUP  BY r.candidate
ORDER  BY r.candidate
LIMIT  $3
