-- The deliveries of an endpoint that are due, with their events; see `due_webhook_deliveries`.
-- $1 endpoint, text
-- $2 under way, bigint[]
-- $3 limit, integer
SELECT sequence, attempts, kind, at, exam, reservation, candidate, data
FROM   due_webhook_deliveries($1, $2, $3)
