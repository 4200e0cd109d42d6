-- Counts a failed try to store an entry; answers how often it has been tried.
-- $1 exam, text
-- $2 entry, text
-- $3 fields, text (JSON)
-- $4 error, text
INSERT INTO journal_quarantine (exam, entry, fields, error)
VALUES ($1, $2, $3::text::jsonb, $4)
ON CONFLICT ON CONSTRAINT journal_quarantine_pk DO UPDATE
SET    tries = journal_quarantine.tries + 1,
       error = excluded.error
RETURNING tries
