-- Decides the fate of attempts; answers those that were still open, which are now ours.
-- $1 reservations, text[]
-- $2 attempts, text[], by position
INSERT INTO settled_pins (reservation, pin)
SELECT reservation, pin
FROM   unnest($1::text[], $2::text[]) AS new (reservation, pin)
ORDER  BY reservation
ON CONFLICT ON CONSTRAINT settled_pins_pk DO NOTHING
RETURNING reservation, pin
