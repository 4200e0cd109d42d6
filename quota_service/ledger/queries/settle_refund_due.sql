-- Ops have sent money back; the first to say so is remembered.
-- $1 exam, text: of this exam; null, of any or none
-- $2 id, bigint
-- $3 settled by, text
UPDATE refunds_due d
SET    settled_at = coalesce(d.settled_at, now()),
       settled_by = coalesce(d.settled_by, $3)
FROM   payment_events p
WHERE  d.id = $2
AND    ($1::text IS NULL OR d.exam = $1)
AND    p.event = d.event
RETURNING d.id,
       d.event,
       d.exam,
       d.reservation,
       d.reason,
       d.amount,
       d.currency,
       d.due_at,
       d.settled_at,
       p.provider_reference,
       (SELECT max(e.paid_at) FROM payment_events e
        WHERE  e.reservation = p.reservation AND e.provider_reference = p.provider_reference
        AND    e.status = 'refunded') AS refunded_at,
       (SELECT max(e.paid_at) FROM payment_events e
        WHERE  e.reservation = p.reservation AND e.provider_reference = p.provider_reference
        AND    e.status = 'disputed') AS disputed_at
