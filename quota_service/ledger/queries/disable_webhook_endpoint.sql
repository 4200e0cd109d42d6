-- Lets nothing be sent to an endpoint until ops enable it.
-- $1 endpoint, text
UPDATE webhook_endpoints
SET    disabled_at = now(),
       disabled_reason = 'ops'
WHERE  id = $1
AND    disabled_at IS NULL
