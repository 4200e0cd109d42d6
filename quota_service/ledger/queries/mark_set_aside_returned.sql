-- Redis has the seats of a set-aside back.
-- $1 exam, text
-- $2 set_aside, text
UPDATE set_asides
SET    seats_returned_at = now()
WHERE  exam = $1
AND    id = $2
AND    state = 'over'
AND    seats_returned_at IS NULL
