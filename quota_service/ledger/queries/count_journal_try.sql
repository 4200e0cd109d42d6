-- Counts a failed try to store an entry; answers how often it has been tried.
-- $1 exam, text
-- $2 shard, integer
-- $3 entry, text
-- $4 fields, text (JSON)
-- $5 error, text
INSERT INTO journal_quarantine (exam, shard, entry, fields, error)
VALUES ($1, $2, $3, $4::text::jsonb, $5)
ON CONFLICT ON CONSTRAINT journal_quarantine_pk DO UPDATE
SET    tries = journal_quarantine.tries + 1,
       error = excluded.error
RETURNING tries
