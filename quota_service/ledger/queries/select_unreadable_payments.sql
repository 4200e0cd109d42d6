-- Payment events that could not be parsed and were neither settled nor sent again since, in the
-- order they came.
-- $1 after this id, bigint
-- $2 limit, integer
SELECT u.id, u.event, u.body, u.problem, u.deliveries, u.received_at, u.last_received_at, u.settled_at
FROM   unreadable_payments u
WHERE  u.settled_at IS NULL
AND    u.id > $1
AND    NOT EXISTS (
    SELECT FROM payment_events p WHERE p.event = u.event AND p.received_at > u.received_at
)
ORDER  BY u.id
LIMIT  $2
