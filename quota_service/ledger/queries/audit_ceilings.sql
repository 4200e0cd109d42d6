-- Every ceiling of an exam with what is booked in the quotas under it, which `confirmed` has to equal.
-- $1 exam, text
SELECT c.venue,
       c.session,
       c.seats,
       c.confirmed,
       coalesce(sum(q.confirmed), 0)::integer AS booked
FROM   ceilings c
LEFT   JOIN quotas q ON q.exam = c.exam AND q.venue = c.venue AND q.ceiling = c.session
WHERE  c.exam = $1
GROUP  BY c.venue, c.session, c.seats, c.confirmed
ORDER  BY c.venue, c.session
