-- Which of these bookings were changed last under these attempts.
-- $1 reservations, text[]
-- $2 attempts, text[], by position
SELECT reservation
FROM   bookings
JOIN   unnest($1::text[], $2::text[]) AS asked (reservation, attempt) USING (reservation)
WHERE  last_change = attempt
