-- Removes deliveries of events that are gone and those to deleted endpoints; answers how many.
-- $1 limit, integer
WITH gone AS (
    DELETE FROM webhook_deliveries
    WHERE  ctid = ANY (ARRAY(
        SELECT old.place
        FROM   webhook_endpoints w
        CROSS  JOIN LATERAL (
            SELECT d.ctid AS place, d.sequence
            FROM   webhook_deliveries d
            WHERE  d.endpoint = w.id
            ORDER  BY d.endpoint, d.sequence
            LIMIT  $1
        ) AS old
        WHERE  w.deleted_at IS NOT NULL
        OR     old.sequence < (SELECT min(sequence) FROM events)
        LIMIT  $1
    ))
    RETURNING 1
)
SELECT count(*) AS count
FROM   gone
