-- How many payment events that could not be understood wait for a person.
SELECT count(*)
FROM   unreadable_payments u
WHERE  u.settled_at IS NULL
AND    NOT EXISTS (
    SELECT FROM payment_events p WHERE p.event = u.event AND p.received_at > u.received_at
)
