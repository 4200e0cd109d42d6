-- What happened to reservations, as far as their journal is drained, oldest first.
-- $1 exam, text
-- $2 serials, text[]
SELECT subject, verb, at, body, key_id, request_id
FROM   journal
WHERE  exam = $1
AND    subject = ANY ($2::text[])
ORDER  BY epoch, version
LIMIT  2000
