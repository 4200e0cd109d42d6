-- The number of the last event; 0 where there is none.
SELECT coalesce(max(sequence), 0) AS last
FROM   events
