-- Locks an endpoint; answers a row if there is one, with why nothing is sent to it.
-- $1 endpoint, text
SELECT disabled_reason
FROM   webhook_endpoints
WHERE  id = $1
AND    deleted_at IS NULL
FOR    NO KEY UPDATE
