-- Payment events by the provider's ids.
-- $1 events, text[]
SELECT event, reservation, outcome, reason, body_hash
FROM   payment_events
WHERE  event = ANY ($1::text[])
