-- Lets events be delivered to an endpoint, again or for the first time: a page of those that it wants, after
-- a sequence; answers how many, and the last sequence that was looked at, null when there are no more.
-- $1 endpoint, text
-- $2 since, timestamptz
-- $3 after this sequence, bigint
-- $4 limit, integer
WITH page AS MATERIALIZED (
    SELECT e.sequence, e.kind, e.exam, e.reservation, e.at
    FROM   events e
    WHERE  e.sequence > $3
    ORDER  BY e.sequence
    LIMIT  $4
), made AS (
    INSERT INTO webhook_deliveries AS d (endpoint, sequence, subject)
    SELECT w.id, e.sequence, coalesce(e.reservation, e.exam, e.kind)
    FROM   page e
    JOIN   webhook_endpoints w
           ON  w.id = $1
           AND (w.exams IS NULL OR e.exam = ANY (w.exams))
           AND (w.kinds IS NULL OR e.kind = ANY (w.kinds))
    WHERE  e.at >= $2
    AND    e.kind <> 'webhook.test'
    ORDER  BY e.sequence
    ON CONFLICT ON CONSTRAINT webhook_deliveries_pk DO UPDATE
    SET    state = 'pending',
           attempts = 0,
           next_at = now(),
           first_tried_at = NULL,
           last_tried_at = NULL
    RETURNING 1
)
SELECT (SELECT count(*) FROM made) AS made,
       (SELECT max(sequence) FROM page) AS last
