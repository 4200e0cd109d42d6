-- The numbers of the first and the last event that are there; 0 and 0 where there is none.
SELECT coalesce(min(sequence), 0) AS first,
       coalesce(max(sequence), 0) AS last
FROM   events
