-- The set-asides of an exam, those that are over too.
-- $1 exam, text
SELECT id,
       until,
       seats::text AS seats,
       state
FROM   set_asides
WHERE  exam = $1
ORDER  BY id
