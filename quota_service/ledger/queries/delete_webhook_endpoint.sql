-- Deletes an endpoint with its secrets; its deliveries and the row itself go by retention.
-- $1 endpoint, text
WITH secrets AS (
    DELETE FROM webhook_secrets
    WHERE  endpoint = $1
)
UPDATE webhook_endpoints
SET    deleted_at = now()
WHERE  id = $1
