-- Which of these bookings were refunded.
-- $1 reservations, text[]
SELECT reservation
FROM   refunds
WHERE  reservation = ANY ($1::text[])
