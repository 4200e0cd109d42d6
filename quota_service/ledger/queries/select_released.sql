-- The seats of quotas that came by seat releases, where any did.
-- $1 exam, text
SELECT venue,
       subject,
       released
FROM   quotas
WHERE  exam = $1
AND    released > 0
