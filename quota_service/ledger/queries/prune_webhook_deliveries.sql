-- Removes deliveries of events that are gone and those to deleted endpoints; answers how many.
-- $1 limit, integer
WITH gone AS (
    DELETE FROM webhook_deliveries
    WHERE  ctid = ANY (ARRAY(
        SELECT d.ctid
        FROM   webhook_endpoints w
        CROSS  JOIN LATERAL (
            SELECT d.ctid
            FROM   webhook_deliveries d
            WHERE  d.endpoint = w.id
            AND    d.sequence < CASE WHEN w.deleted_at IS NULL
                                     THEN (SELECT coalesce(min(sequence), 0) FROM events)
                                     ELSE 9223372036854775807
                                END
            LIMIT  $1
        ) AS d
        LIMIT  $1
    ))
    RETURNING 1
)
SELECT count(*) AS count
FROM   gone
