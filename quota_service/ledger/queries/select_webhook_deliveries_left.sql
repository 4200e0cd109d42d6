-- A page of the deliveries to an endpoint in a state that few are in, the newest event first.
-- $1 endpoint, text
-- $2 before this sequence, bigint; from the newest on where 0
-- $3 state, text: pending or given-up
-- $4 limit, integer
SELECT d.sequence, d.state, d.attempts, greatest(d.next_at, d.made_at) AS next_at, d.last_tried_at, d.last_status,
       d.last_error, e.kind, e.at, e.exam, e.reservation
FROM   (SELECT * FROM webhook_deliveries WHERE endpoint = $1 AND state = 'pending' AND $3 = 'pending'
        UNION ALL
        SELECT * FROM webhook_deliveries WHERE endpoint = $1 AND state = 'given-up' AND $3 = 'given-up') AS d
JOIN   events e ON e.sequence = d.sequence
WHERE  d.sequence < CASE $2::bigint WHEN 0 THEN 9223372036854775807 ELSE $2::bigint END
ORDER  BY d.sequence DESC
LIMIT  $4
