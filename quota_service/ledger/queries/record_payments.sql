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
-- $22 epochs, bigint[]: of the step in Redis that each payment was begun by
-- $23 versions, bigint[]
-- $24 reservations of subjects, text[]; the rest of the subjects by position
-- $25 exams, text[]
-- $26 candidates, text[]
-- $27 sessions, text[]
-- $28 venues, text[]
-- $29 subjects, text[]
-- $30 positions in the order, smallint[]
-- $31 whether each event has its reference, boolean[]
-- $32 events that each repeats, text[]
-- $33 requests that told of each, text[]
-- $34 changes of venue of each booking, integer[]
WITH recorded AS (
    INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency,
                                paid_at, provider_reference, body_hash, has_reference, repeats,
                                request_id)
    SELECT *
    FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                  $7::text[], $8::timestamptz[], $9::text[], $10::text[], $31::boolean[],
                  $32::text[], $33::text[]) AS new (event)
    ORDER  BY event
    RETURNING event
), booked AS (
    INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                          request_hash, first_deadline, first_venue, step_epoch, step_version,
                          venue_changes)
    SELECT *
    FROM   unnest($11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[],
                  $17::text[], $18::timestamptz[], $19::text[], $20::timestamptz[], $21::text[],
                  $22::bigint[], $23::bigint[], $34::integer[])
           AS new (reservation)
    WHERE  (SELECT count(*) FROM recorded) IS NOT NULL
    ORDER  BY reservation
    RETURNING reservation
)
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
SELECT *
FROM   unnest($24::text[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[],
              $30::smallint[])
       AS new (reservation, exam, candidate, session, venue, subject, position)
WHERE  (SELECT count(*) FROM booked) IS NOT NULL
ORDER  BY exam, candidate, session
