-- The payment events of one reservation, oldest first.
-- $1 reservation, text
SELECT event, status, outcome, reason, amount, currency, paid_at, provider_reference
FROM   payment_events
WHERE  reservation = $1
ORDER  BY received_at, event
LIMIT  100
