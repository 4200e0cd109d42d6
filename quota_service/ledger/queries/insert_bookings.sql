-- Books reservations; bookings_pk refuses one that is booked.
-- $1 reservations, text[]; the rest by position
-- $2 exams, text[]
-- $3 candidates, text[]
-- $4 venues, text[]
-- $5 amounts in minor units, bigint[]
-- $6 currencies, text[]
-- $7 events, text[]
-- $8 reserved at, timestamptz[]
-- $9 request hashes, text[]
-- $10 first deadlines, timestamptz[]
-- $11 first venues, text[]
INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                      request_hash, first_deadline, first_venue)
SELECT *
FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
              $8::timestamptz[], $9::text[], $10::timestamptz[], $11::text[]) AS new (reservation)
ORDER  BY reservation
