-- Records payment events and books what they pay for. payment_events_pk, bookings_pk and
-- booking_items_one_subject_a_session refuse what is there. One question for three tables: in a
-- rush the way to the server and back is what a payment waits for. Each step asks how much the one
-- before did, which is what keeps them in this order.
-- $1 events, text[]; the rest of the events by position
-- $2 reservations, text[]
-- $3 statuses, text[]
-- $4 outcomes, text[]
-- $5 reasons, text[]
-- $6 amounts in minor units, bigint[]
-- $7 currencies, text[]
-- $8 paid at, timestamptz[]
-- $9 provider references, text[]
-- $10 body hashes, text[]
-- $11 booked reservations, text[]; the rest of the bookings by position
-- $12 exams, text[]
-- $13 candidates, text[]
-- $14 venues, text[]
-- $15 amounts in minor units, bigint[]
-- $16 currencies, text[]
-- $17 events, text[]
-- $18 reserved at, timestamptz[]
-- $19 request hashes, text[]
-- $20 first deadlines, timestamptz[]
-- $21 first venues, text[]
-- $22 reservations of subjects, text[]; the rest of the subjects by position
-- $23 exams, text[]
-- $24 candidates, text[]
-- $25 sessions, text[]
-- $26 venues, text[]
-- $27 subjects, text[]
-- $28 positions in the order, smallint[]
WITH recorded AS (
    INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency,
                                paid_at, provider_reference, body_hash)
    SELECT *
    FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                  $7::text[], $8::timestamptz[], $9::text[], $10::text[]) AS new (event)
    ORDER  BY event
    RETURNING event
), booked AS (
    INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                          request_hash, first_deadline, first_venue)
    SELECT *
    FROM   unnest($11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[],
                  $17::text[], $18::timestamptz[], $19::text[], $20::timestamptz[], $21::text[])
           AS new (reservation)
    WHERE  (SELECT count(*) FROM recorded) IS NOT NULL
    ORDER  BY reservation
    RETURNING reservation
)
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
SELECT *
FROM   unnest($22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[],
              $28::smallint[])
       AS new (reservation, exam, candidate, session, venue, subject, position)
WHERE  (SELECT count(*) FROM booked) IS NOT NULL
ORDER  BY exam, candidate, session
