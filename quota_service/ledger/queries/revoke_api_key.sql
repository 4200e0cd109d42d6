-- Ends an API key; answers its id when it was alive.
-- $1 id, text
UPDATE api_keys
SET    revoked_at = now()
WHERE  id = $1
AND    revoked_at IS NULL
RETURNING id
