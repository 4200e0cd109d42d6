-- Set-asides that are over and whose seats Redis may still keep.
SELECT exam, id
FROM   set_asides
WHERE  seats_returned_at IS NULL
AND    state = 'over'
ORDER  BY until, exam, id
