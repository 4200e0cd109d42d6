-- The extension that was asked for under a key.
-- $1 exam, text
-- $2 key, text
SELECT id, venue, subject, reservation, ms
FROM   hold_extensions
WHERE  exam = $1
AND    idempotency_key = $2
