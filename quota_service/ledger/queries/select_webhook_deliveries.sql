-- A page of the deliveries to an endpoint, the newest event first.
-- $1 endpoint, text
-- $2 before this sequence, bigint; from the newest on where 0
-- $3 whether only those that were taken, boolean
-- $4 limit, integer
SELECT d.sequence, d.state, d.attempts, greatest(d.next_at, d.made_at) AS next_at, d.last_tried_at, d.last_status,
       d.last_error, e.kind, e.at, e.exam, e.reservation
FROM   webhook_deliveries d
JOIN   events e ON e.sequence = d.sequence
WHERE  d.endpoint = $1
AND    d.sequence < CASE $2::bigint WHEN 0 THEN 9223372036854775807 ELSE $2::bigint END
AND    (d.state = 'delivered' OR NOT $3::boolean)
ORDER  BY d.endpoint DESC, d.sequence DESC
LIMIT  $4
