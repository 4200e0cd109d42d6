-- Keeps a payment event that cannot be understood; one that comes again is counted.
-- $1 digest, text
-- $2 event, text
-- $3 body, bytea
-- $4 problem, text
INSERT INTO unreadable_payments (digest, event, body, problem)
VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT unreadable_payments_once DO UPDATE
SET    deliveries       = unreadable_payments.deliveries + 1,
       last_received_at = now(),
       problem          = EXCLUDED.problem
