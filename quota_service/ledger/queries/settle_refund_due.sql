-- Ops have sent money back; the first to say so is remembered.
-- $1 exam, text
-- $2 id, bigint
-- $3 settled by, text
UPDATE refunds_due d
SET    settled_at = coalesce(d.settled_at, now()),
       settled_by = coalesce(d.settled_by, $3)
FROM   payment_events p
WHERE  d.id = $2
AND    (d.exam = $1 OR d.exam IS NULL)
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
       p.provider_reference
