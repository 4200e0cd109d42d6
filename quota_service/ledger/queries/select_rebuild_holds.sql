-- A page of a shard's holds that are not booked, oldest first, as the journal last saw them.
-- $1 exam, text
-- $2 created after, timestamptz
-- $3 and, at that time, after this reservation, text
-- $4 limit, integer
SELECT r.id AS reservation, r.record, r.created_at
FROM   reservations r
WHERE  r.exam = $1
AND    r.shard = 0
AND    (r.created_at, r.id) > ($2, $3)
AND    r.state IN ('held', 'confirming')
AND    NOT EXISTS (SELECT FROM bookings b WHERE b.reservation = r.id)
ORDER  BY r.created_at, r.id
LIMIT  $4
