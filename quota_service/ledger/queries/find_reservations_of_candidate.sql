-- A page of a candidate's reservations, in every exam or in one: those of the drained journal, and bookings, whose journal
-- may be pruned.
-- $1 candidate, text
-- $2 exam, text; all where null
-- $3 after this reservation, text
-- $4 limit, integer
SELECT id
FROM   (SELECT r.id
        FROM   exams e
        JOIN   reservations r ON r.exam = e.id AND r.candidate = $1
        WHERE  $2::text IS NULL OR e.id = $2
        UNION
        SELECT b.reservation
        FROM   exams e
        JOIN   bookings b ON b.exam = e.id AND b.candidate = $1
        WHERE  $2::text IS NULL OR e.id = $2) AS found
WHERE  id > $3
ORDER  BY id
LIMIT  $4
