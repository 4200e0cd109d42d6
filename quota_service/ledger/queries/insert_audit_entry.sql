-- What a repair changed, and why.
-- $1 exam, text
-- $2 promise, text
-- $3 place, text
-- $4 detail, text
INSERT INTO audit_entries (exam, promise, place, detail)
VALUES ($1, $2, $3, $4)
