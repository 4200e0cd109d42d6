-- Reservations of an exam that ended twice without beginning again in between.
-- $1 exam, text
SELECT subject, epoch, version, verb
FROM   (
    SELECT subject,
           epoch,
           version,
           verb,
           lag(verb) OVER (PARTITION BY subject ORDER BY epoch, version) AS before
    FROM   journal
    WHERE  exam = $1
    AND    verb NOT IN ('capacity', 'see_payment')
) AS steps
WHERE  verb IN ('release', 'expire', 'refund')
AND    before IN ('release', 'expire', 'refund')
ORDER  BY epoch, version
LIMIT  100
