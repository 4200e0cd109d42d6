-- What a candidate was refused within a day, by itself and for its reservations; newest first, at
-- most 200.
-- $1 exam, text
-- $2 candidate, text
-- $3 ids of its reservations, text[]
SELECT slug, reservation, count, last_at, key_id, request_id
FROM   refusals
WHERE  exam = $1
AND    ((candidate = $2 AND reservation = '') OR (candidate = '' AND reservation = ANY ($3)))
AND    minute > now() - interval '1 day'
ORDER  BY last_at DESC, slug, reservation
LIMIT  200
