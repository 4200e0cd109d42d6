-- Counts booked seats that a quota's counter has missed; never fewer than before.
-- $1 exam, text
-- $2 venue, text
-- $3 subject, text
-- $4 seats, integer
UPDATE quotas
SET    confirmed = $4
WHERE  exam = $1
AND    venue = $2
AND    subject = $3
AND    confirmed < $4
