-- Bookings as the records Redis keeps of them.
-- $1 reservations, text[]
SELECT reservation, record
FROM   booking_records
WHERE  reservation = ANY ($1::text[])
