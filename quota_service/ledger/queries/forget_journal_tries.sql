-- Forgets that journal entries were refused before: they are stored now.
-- $1 exam, text
-- $2 entries, text[]: stream ids
DELETE FROM journal_quarantine
WHERE  exam = $1
AND    entry = ANY ($2::text[])
AND    quarantined_at IS NULL
