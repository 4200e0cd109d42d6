-- Every quota of an exam with the active items of its bookings, which `confirmed` has to equal, and
-- refunds whose seats Redis may still have.
-- $1 exam, text
SELECT q.venue,
       q.subject,
       q.capacity,
       q.confirmed,
       coalesce(i.items, 0)    AS items,
       coalesce(r.refunded, 0) AS returning
FROM   quotas q
LEFT   JOIN (
    SELECT venue, subject, count(*) AS items
    FROM   booking_items
    WHERE  exam = $1
    AND    active
    GROUP  BY venue, subject
) AS i USING (venue, subject)
LEFT   JOIN (
    SELECT b.venue, b.subject, count(*) AS refunded
    FROM   refunds f
    JOIN   booking_items b USING (reservation)
    WHERE  f.exam = $1
    AND    f.seats_returned_at IS NULL
    GROUP  BY b.venue, b.subject
) AS r USING (venue, subject)
WHERE  q.exam = $1
ORDER  BY q.venue, q.subject
