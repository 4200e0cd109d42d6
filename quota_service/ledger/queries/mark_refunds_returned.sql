-- The seats of refunds are back in Redis.
-- $1 reservations, text[]
UPDATE refunds
SET    seats_returned_at = now()
WHERE  reservation = ANY ($1::text[])
AND    seats_returned_at IS NULL
