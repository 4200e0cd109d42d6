-- A page of the deliveries to an endpoint, the newest event first.
-- $1 endpoint, text
-- $2 before this sequence, bigint; from the newest on where 0
-- $3 state, text; null for all
-- $4 limit, integer
SELECT d.sequence, d.state, d.attempts, greatest(d.next_at, d.made_at) AS next_at, d.last_tried_at, d.last_status, d.last_error,
       e.kind, e.at, e.exam, e.reservation
FROM   webhook_deliveries d
JOIN   events e ON e.sequence = d.sequence
WHERE  d.endpoint = $1
AND    ($2 = 0 OR d.sequence < $2)
AND    ($3::text IS NULL OR d.state = $3::text)
ORDER  BY d.sequence DESC
LIMIT  $4
