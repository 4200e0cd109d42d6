-- Ends the set-asides whose time has come.
UPDATE set_asides
SET    state = 'over'
WHERE  seats_returned_at IS NULL
AND    state = 'on'
AND    until <= now()
