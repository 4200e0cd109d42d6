-- The ceilings of an exam, each with the subjects that it is over.
-- $1 exam, text
SELECT c.venue,
       c.session,
       c.seats,
       coalesce(array_agg(q.subject ORDER BY q.subject) FILTER (WHERE q.subject IS NOT NULL), '{}')
       AS subjects
FROM   ceilings c
LEFT   JOIN quotas q ON q.exam = c.exam AND q.venue = c.venue AND q.ceiling = c.session
WHERE  c.exam = $1
GROUP  BY c.venue, c.session, c.seats
ORDER  BY c.venue, c.session
