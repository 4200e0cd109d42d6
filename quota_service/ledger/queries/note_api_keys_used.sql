-- Remembers that API keys were used just now; what was noted within 30 s stays, by whichever process.
-- $1 ids, text[]
UPDATE api_keys
SET    last_used_at = now()
WHERE  id = ANY ($1)
AND    (last_used_at IS NULL OR last_used_at < now() - interval '30 seconds')
