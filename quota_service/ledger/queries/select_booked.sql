-- Which of these reservations have a booking.
-- $1 reservations, text[]
SELECT reservation
FROM   bookings
WHERE  reservation = ANY ($1::text[])
