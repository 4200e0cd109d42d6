-- Holds the events that have these references, so that one at a time is compared with them.
-- $1 references, text[]
SELECT event
FROM   payment_events
WHERE  provider_reference = ANY ($1::text[])
AND    status = 'captured'
AND    has_reference
ORDER  BY event
FOR    NO KEY UPDATE
