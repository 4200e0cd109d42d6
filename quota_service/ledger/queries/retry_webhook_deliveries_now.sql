-- Lets the deliveries of an endpoint that wait for their next attempt be tried at once.
-- $1 endpoint, text
UPDATE webhook_deliveries
SET    next_at = now()
WHERE  endpoint = $1
AND    state = 'pending'
AND    next_at > now()
