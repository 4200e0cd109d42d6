-- How each endpoint stands, for its gauges.
SELECT w.id,
       w.disabled_reason,
       extract(epoch FROM now() - w.failing_since)::double precision AS failing_s,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = w.id AND d.state = 'pending') AS pending,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = w.id AND d.state = 'given-up') AS given_up
FROM   webhook_endpoints w
WHERE  w.deleted_at IS NULL
