-- Counts booked seats that a quota's counter has missed, under its ceiling too; never fewer than before.
-- $1 exam, text
-- $2 venue, text
-- $3 subject, text
-- $4 seats, integer
WITH missed AS (
    SELECT exam, venue, subject, ceiling, $4 - confirmed AS seats
    FROM   quotas
    WHERE  exam = $1
    AND    venue = $2
    AND    subject = $3
    AND    confirmed < $4
    FOR    NO KEY UPDATE
),
raised AS (
    UPDATE quotas q
    SET    confirmed = $4
    FROM   missed
    WHERE  q.exam = missed.exam
    AND    q.venue = missed.venue
    AND    q.subject = missed.subject
)
UPDATE ceilings c
SET    confirmed = c.confirmed + missed.seats
FROM   missed
WHERE  c.exam = missed.exam
AND    c.venue = missed.venue
AND    c.session = missed.ceiling
