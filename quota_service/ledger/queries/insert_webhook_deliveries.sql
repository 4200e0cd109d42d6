-- Makes the deliveries of the events that have just got their numbers, to each endpoint that wants them. A test is
-- for one endpoint, which is called at once whatever pause it has.
-- $1 how many these events are, bigint
WITH numbered AS MATERIALIZED (
    SELECT sequence, kind, exam, reservation, data
    FROM   events
    WHERE  sequence > (SELECT max(sequence) FROM events) - $1
), called AS (
    UPDATE webhook_endpoints w
    SET    next_at = now()
    FROM   numbered e
    WHERE  e.kind = 'webhook.test'
    AND    w.id = e.data ->> 'endpoint'
)
INSERT INTO webhook_deliveries (endpoint, sequence, subject, next_at)
SELECT w.id,
       e.sequence,
       coalesce(e.reservation, e.exam, e.kind),
       CASE WHEN e.kind = 'webhook.test' THEN 'epoch' ELSE now() END
FROM   numbered e
JOIN   webhook_endpoints w
       ON  w.deleted_at IS NULL
       AND CASE WHEN e.kind = 'webhook.test'
                THEN e.data ->> 'endpoint' = w.id
                ELSE (w.exams IS NULL OR e.exam = ANY (w.exams))
                     AND (w.kinds IS NULL OR e.kind = ANY (w.kinds))
           END
