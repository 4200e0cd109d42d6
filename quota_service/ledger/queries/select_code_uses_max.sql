-- How often a code may be used at once.
-- $1 exam, text
-- $2 code, text
SELECT uses_max
FROM   set_aside_codes
WHERE  exam = $1
AND    id = $2
