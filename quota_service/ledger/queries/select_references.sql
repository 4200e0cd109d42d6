-- Captured payments that were told by these references, those that have the reference first.
-- $1 references, text[]
SELECT event, reservation, amount, currency, outcome, reason, provider_reference, has_reference
FROM   payment_events
WHERE  provider_reference = ANY ($1::text[])
AND    status = 'captured'
AND    has_reference
UNION  ALL
SELECT event, reservation, amount, currency, outcome, reason, provider_reference, has_reference
FROM   payment_events
WHERE  provider_reference = ANY ($1::text[])
AND    status = 'captured'
AND    NOT has_reference
AND    repeats IS NULL
ORDER  BY has_reference DESC, event
