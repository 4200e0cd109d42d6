-- How long the first event without a number has waited, in seconds, null where there is none; and whether there are
-- events whose step is not known.
SELECT (SELECT extract(epoch FROM clock_timestamp() - created_at)::double precision
        FROM   events
        WHERE  sequence IS NULL
        ORDER  BY id
        LIMIT  1) AS oldest_s,
       EXISTS (SELECT FROM events WHERE version IS NULL) AS to_place
