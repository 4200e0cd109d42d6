-- A person has dealt with a payment event that could not be understood; the first to say so is
-- remembered.
-- $1 id, bigint
-- $2 settled by, text
UPDATE unreadable_payments
SET    settled_at = coalesce(settled_at, now()),
       settled_by = coalesce(settled_by, $2)
WHERE  id = $1
RETURNING id, event, body, problem, deliveries, received_at, last_received_at, settled_at
