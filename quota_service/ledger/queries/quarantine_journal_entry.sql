-- Sets an entry aside for good.
-- $1 exam, text
-- $2 entry, text
UPDATE journal_quarantine
SET    quarantined_at = now()
WHERE  exam = $1
AND    entry = $2
