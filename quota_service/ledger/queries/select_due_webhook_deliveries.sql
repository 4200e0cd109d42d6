-- The deliveries of an endpoint that are due: of each subject the first that is left, as order is kept there. They
-- are walked by the time at which they are due; each looks up by index whether it is the first, whatever the tables
-- held when the plan was made.
-- $1 endpoint, text
-- $2 under way, bigint[]
-- $3 limit, integer
WITH due AS MATERIALIZED (
    SELECT d.sequence, d.attempts, d.next_at
    FROM   webhook_deliveries d
    WHERE  d.endpoint = $1
    AND    d.state = 'pending'
    AND    d.next_at <= now()
    AND    d.sequence <> ALL ($2::bigint[])
    AND    d.sequence = (SELECT f.sequence
                         FROM   webhook_deliveries f
                         WHERE  f.endpoint = d.endpoint
                         AND    f.subject = d.subject
                         AND    f.state = 'pending'
                         ORDER  BY f.endpoint, f.subject, f.sequence
                         LIMIT  1)
    ORDER  BY d.endpoint, d.next_at, d.sequence
    LIMIT  $3
)
SELECT due.sequence, due.attempts, e.kind, e.at, e.exam, e.reservation, e.candidate, e.data
FROM   due
CROSS  JOIN LATERAL (SELECT * FROM events e WHERE e.sequence = due.sequence OFFSET 0) AS e
ORDER  BY due.next_at, due.sequence
