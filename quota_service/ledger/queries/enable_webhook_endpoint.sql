-- Lets an endpoint be called again at once, with all that is due to it; its time and that of each begin anew.
-- $1 endpoint, text
WITH again AS (
    UPDATE webhook_deliveries
    SET    attempts = 0,
           next_at = now(),
           first_tried_at = NULL,
           last_tried_at = NULL
    WHERE  endpoint = $1
    AND    state = 'pending'
    AND    attempts > 0
)
UPDATE webhook_endpoints
SET    disabled_at = NULL,
       disabled_reason = NULL,
       failures = 0,
       failing_since = NULL,
       next_at = now()
WHERE  id = $1
