-- The subjects of bookings; booking_items_one_subject_a_session refuses a second one in a session.
-- $1 reservations, text[]; the rest by position
-- $2 exams, text[]
-- $3 candidates, text[]
-- $4 sessions, text[]
-- $5 venues, text[]
-- $6 subjects, text[]
-- $7 positions in the order, smallint[]
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
SELECT *
FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
              $7::smallint[])
       AS new (reservation, exam, candidate, session, venue, subject, position)
ORDER  BY exam, candidate, session
