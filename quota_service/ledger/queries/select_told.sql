-- Payment events by the provider's ids, and captured payments that have these references: one question
-- for both, as in a rush the way to the server and back is what a payment waits for.
-- $1 events, text[]
-- $2 references, text[]
SELECT event, reservation, outcome, reason, body_hash, NULL AS taken_reference
FROM   payment_events
WHERE  event = ANY ($1::text[])
UNION  ALL
SELECT event, reservation, outcome, reason, body_hash, provider_reference
FROM   payment_events
WHERE  provider_reference = ANY ($2::text[])
AND    status = 'captured'
AND    has_reference
