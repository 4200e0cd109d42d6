-- A page of who sits at a venue in a session, by candidate: the seats of bookings that are not refunded.
-- Of a small venue it reads the items of the whole exam, some 80 ms for 400,000; an index by venue
-- would be written with each payment.
-- $1 exam, text
-- $2 venue, text; all where null
-- $3 session, text; all where null
-- $4 after this candidate, text
-- $5 and this session of the candidate, text
-- $6 limit, integer
SELECT venue,
       session,
       subject,
       candidate,
       reservation
FROM   booking_items
WHERE  exam = $1
AND    active
AND    (candidate, session) > ($4, $5)
AND    ($2::text IS NULL OR venue = $2)
AND    ($3::text IS NULL OR session = $3)
ORDER  BY candidate, session
LIMIT  $6
