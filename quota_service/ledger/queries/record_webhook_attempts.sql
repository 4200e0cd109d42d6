-- What became of attempts to deliver; answers a row while their worker holds the endpoint and may go on, with
-- how many it has given up. An endpoint that has taken nothing for so long is disabled, and so is one that
-- answered 410; one that took others since loses the delivery that it refuses.
-- $1 endpoint, text
-- $2 holder, text
-- $3 attempts, text (JSON)
-- $4 failures of the endpoint now, integer
-- $5 pause before the next call of the endpoint, interval
-- $6 lease, interval; none when the worker leaves it
-- $7 tried for at most, interval
WITH told AS MATERIALIZED (
    SELECT (SELECT d.ctid FROM webhook_deliveries d WHERE d.endpoint = $1 AND d.sequence = t.sequence) AS place,
           t.is_taken, t.status, t.error, t.pause_s
    FROM   json_to_recordset($3::text::json)
           AS t (sequence bigint, is_taken boolean, status integer, error text, pause_s double precision)
), seen AS (
    SELECT coalesce(bool_or(is_taken), false) AS took,
           coalesce(bool_or(NOT is_taken), false) AS refused,
           coalesce(bool_or(status = 410), false) AS is_gone
    FROM   told
), old AS (
    SELECT coalesce(failing_since <= now() - $7::interval, false) AS is_failing
    FROM   webhook_endpoints
    WHERE  id = $1
    FOR    NO KEY UPDATE  -- before its deliveries, as ops do who enable it
), tried AS (
    UPDATE webhook_deliveries d
    SET    attempts = d.attempts + 1,
           first_tried_at = coalesce(d.first_tried_at, now()),
           last_tried_at = now(),
           last_status = t.status,
           last_error = t.error,
           state = CASE WHEN t.is_taken THEN 'delivered'
                        WHEN d.first_tried_at <= now() - $7::interval AND NOT old.is_failing THEN 'given-up'
                        ELSE 'pending'
                   END,
           next_at = CASE WHEN t.is_taken THEN d.next_at
                          ELSE now() + t.pause_s * interval '1 second'
                     END
    FROM   told t, old
    WHERE  d.ctid = t.place
    AND    d.state = 'pending'
    RETURNING d.state
)
UPDATE webhook_endpoints w
SET    failures = $4,
       failing_since = CASE WHEN seen.took THEN NULL
                            WHEN seen.refused THEN coalesce(w.failing_since, now())
                            ELSE w.failing_since
                       END,
       next_at = now() + $5::interval,
       disabled_at = CASE WHEN seen.is_gone OR (old.is_failing AND seen.refused AND NOT seen.took) THEN now() END,
       disabled_reason = CASE WHEN seen.is_gone THEN 'gone'
                              WHEN old.is_failing AND seen.refused AND NOT seen.took THEN 'failing'
                         END,
       holder = CASE WHEN $6::interval IS NOT NULL THEN $2 END,
       held_until = clock_timestamp() + $6::interval
FROM   seen, old
WHERE  w.id = $1
AND    w.holder = $2
AND    w.disabled_at IS NULL
AND    w.deleted_at IS NULL
RETURNING w.disabled_reason,
          (SELECT count(*) FROM tried WHERE state = 'given-up') AS given_up
