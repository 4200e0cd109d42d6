-- Moves the subjects of bookings to another venue; answers them.
-- $1 reservations, text[]
-- $2 venues to, text[], by position
UPDATE booking_items i
SET    venue = wanted.venue_to
FROM   unnest($1::text[], $2::text[]) AS wanted (reservation, venue_to)
WHERE  i.reservation = wanted.reservation
RETURNING i.reservation, i.exam, i.subject
