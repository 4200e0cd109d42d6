-- Whether a set-aside is over, or is to be, whose seats Redis may still keep.
SELECT
FROM   set_asides
WHERE  seats_returned_at IS NULL
AND    (until <= now() OR state = 'over')
LIMIT  1
