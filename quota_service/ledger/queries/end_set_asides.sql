-- Ends the set-asides of an exam that its definition does not have any more.
-- $1 exam, text
-- $2 ids that it has, text[]
UPDATE set_asides
SET    state = 'over'
WHERE  exam = $1
AND    state = 'on'
AND    id <> ALL ($2::text[])
