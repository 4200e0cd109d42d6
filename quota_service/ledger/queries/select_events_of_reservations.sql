-- The captured payment events that are recorded of reservations.
-- $1 reservations, text[]
SELECT reservation, event
FROM   payment_events
WHERE  reservation = ANY ($1::text[])
AND    status = 'captured'
