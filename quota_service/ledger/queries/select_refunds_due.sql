-- Money that has to go back for an exam, and what names no exam at all, in the order it came.
-- $1 exam, text
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
       p.provider_reference
FROM   refunds_due d
JOIN   payment_events p USING (event)
WHERE  (d.exam = $1 OR d.exam IS NULL)
AND    d.settled_at IS NULL
AND    d.id > $2
ORDER  BY d.id
LIMIT  $3
