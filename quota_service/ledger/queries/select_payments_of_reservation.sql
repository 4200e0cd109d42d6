-- The payment events of one reservation, oldest first, with what became of their money later.
-- $1 reservation, text
SELECT event,
       status,
       outcome,
       reason,
       amount,
       currency,
       paid_at,
       provider_reference,
       max(paid_at) FILTER (WHERE status = 'refunded') OVER same_payment AS refunded_at,
       max(paid_at) FILTER (WHERE status = 'disputed') OVER same_payment AS disputed_at
FROM   payment_events
WHERE  reservation = $1
WINDOW same_payment AS (PARTITION BY provider_reference)
ORDER  BY received_at, event
LIMIT  100
