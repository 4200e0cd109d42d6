-- How many holds an extension has moved, and whether it is ended.
-- $1 extension, bigint
SELECT extended,
       ended_at IS NOT NULL AS is_ended
FROM   hold_extensions
WHERE  id = $1
