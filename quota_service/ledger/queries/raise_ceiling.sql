-- Counts booked seats that the counter of a ceiling has missed; never fewer than before.
-- $1 exam, text
-- $2 venue, text
-- $3 session, text
-- $4 seats, integer
UPDATE ceilings
SET    confirmed = $4
WHERE  exam = $1
AND    venue = $2
AND    session = $3
AND    confirmed < $4
