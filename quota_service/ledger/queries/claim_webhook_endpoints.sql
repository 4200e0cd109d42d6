-- Takes the endpoints with deliveries that are due and that no worker holds; those under way here are left. What
-- waits behind an earlier event of its reservation is not due: it is looked for only where a time has come.
-- $1 holder, text
-- $2 under way, text[]
-- $3 lease, interval
-- $4 limit, integer
WITH due AS (
    SELECT w.id
    FROM   webhook_endpoints w
    WHERE  w.disabled_at IS NULL
    AND    w.deleted_at IS NULL
    AND    w.next_at <= now()
    AND    (w.holder IS NULL OR w.held_until <= clock_timestamp())
    AND    w.id <> ALL ($2::text[])
    AND    CASE WHEN (SELECT d.next_at
                      FROM   webhook_deliveries d
                      WHERE  d.endpoint = w.id
                      AND    d.state = 'pending'
                      ORDER  BY d.endpoint, d.next_at, d.sequence
                      LIMIT  1) <= now()
                THEN EXISTS (SELECT FROM due_webhook_deliveries(w.id, '{}', 1))
           END
    LIMIT  $4
    FOR    NO KEY UPDATE OF w SKIP LOCKED
)
UPDATE webhook_endpoints w
SET    holder = $1,
       held_until = clock_timestamp() + $3::interval
FROM   due
WHERE  w.id = due.id
RETURNING w.id,
          w.url,
          w.failures,
          ARRAY(SELECT s.secret
                FROM   webhook_secrets s
                WHERE  s.endpoint = w.id
                AND    (s.ends_at IS NULL OR s.ends_at > now())
                ORDER  BY s.id DESC) AS secrets
