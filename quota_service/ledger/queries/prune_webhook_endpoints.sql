-- Removes deleted endpoints that have no deliveries any more.
DELETE FROM webhook_endpoints w
WHERE  w.deleted_at IS NOT NULL
AND    NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint = w.id)
