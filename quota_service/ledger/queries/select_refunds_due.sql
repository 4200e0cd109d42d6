-- Money that has to go back, in the order it came, with what became of it at the provider.
-- $1 exam, text: of this exam; empty, what names no exam; null, all
-- $2 after this id, bigint
-- $3 limit, integer
SELECT d.id,
       d.event,
       d.exam,
       d.reservation,
       d.reason,
       d.amount,
       d.currency,
       d.due_at,
       d.settled_at,
       p.provider_reference,
       later.refunded_at,
       later.disputed_at
FROM   refunds_due d
JOIN   payment_events p USING (event)
CROSS  JOIN LATERAL (
    SELECT max(e.paid_at) FILTER (WHERE e.status = 'refunded') AS refunded_at,
           max(e.paid_at) FILTER (WHERE e.status = 'disputed') AS disputed_at
    FROM   payment_events e
    WHERE  e.reservation = p.reservation
    AND    e.provider_reference = p.provider_reference
) AS later
WHERE  ($1::text IS NULL OR d.exam = $1 OR ($1 = '' AND d.exam IS NULL))
AND    d.settled_at IS NULL
AND    d.id > $2
ORDER  BY d.id
LIMIT  $3
