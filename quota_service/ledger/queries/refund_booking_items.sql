-- Frees the sessions of bookings that are refunded; answers their seats.
-- $1 reservations, text[]
UPDATE booking_items
SET    active = false
WHERE  reservation = ANY ($1::text[])
AND    active
RETURNING exam, venue, subject
