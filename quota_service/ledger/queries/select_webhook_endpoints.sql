-- The endpoints, or one of them, without their secrets.
-- $1 endpoint, text; null for all
SELECT w.id, w.url, w.exams, w.kinds, w.description, w.created_at, w.disabled_at, w.disabled_reason,
       w.failing_since,
       (SELECT max(s.ends_at) FROM webhook_secrets s WHERE s.endpoint = w.id AND s.ends_at > now()) AS old_until,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = w.id AND d.state = 'pending') AS pending,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = w.id AND d.state = 'given-up') AS given_up
FROM   webhook_endpoints w
WHERE  w.deleted_at IS NULL
AND    ($1::text IS NULL OR w.id = $1::text)
ORDER  BY w.created_at, w.id
