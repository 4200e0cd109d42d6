-- The deliveries of an endpoint that are due: of each subject the first that is left, as order is kept there.
-- $1 endpoint, text
-- $2 under way, bigint[]
-- $3 limit, integer
SELECT d.sequence, d.attempts, e.kind, e.at, e.exam, e.reservation, e.candidate, e.data
FROM   webhook_deliveries d
JOIN   events e ON e.sequence = d.sequence
WHERE  d.endpoint = $1
AND    d.state = 'pending'
AND    d.next_at <= now()
AND    d.sequence <> ALL ($2::bigint[])
AND    NOT EXISTS (SELECT
                   FROM   webhook_deliveries f
                   WHERE  f.endpoint = d.endpoint
                   AND    f.subject = d.subject
                   AND    f.state = 'pending'
                   AND    f.sequence < d.sequence)
ORDER  BY d.next_at, d.sequence
LIMIT  $3
