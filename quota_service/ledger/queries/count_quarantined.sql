-- How many journal entries wait in quarantine for a person.
SELECT count(*)
FROM   journal_quarantine
WHERE  quarantined_at IS NOT NULL
