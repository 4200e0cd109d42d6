-- Keeps how many seats of quotas wait for the next allocation.
-- $1 exam, text
-- $2 venues, text[]; the rest by position
-- $3 subjects, text[]
-- $4 seats, integer[]
INSERT INTO returned_seats (exam, venue, subject, seats)
SELECT $1, venue, subject, seats
FROM   unnest($2::text[], $3::text[], $4::integer[]) AS new (venue, subject, seats)
ORDER  BY venue, subject
ON CONFLICT ON CONSTRAINT returned_seats_pk DO UPDATE
SET    seats = excluded.seats
