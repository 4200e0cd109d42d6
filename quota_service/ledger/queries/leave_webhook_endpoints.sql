-- Lets other workers take the endpoints that one holds, as it ends.
-- $1 holder, text
UPDATE webhook_endpoints
SET    holder = NULL,
       held_until = NULL
WHERE  holder = $1
