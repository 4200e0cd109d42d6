-- Which of these bookings were changed last under these pins.
-- $1 reservations, text[]
-- $2 pins, text[], by position
SELECT reservation
FROM   bookings
JOIN   unnest($1::text[], $2::text[]) AS asked (reservation, pin) USING (reservation)
WHERE  last_change = pin
