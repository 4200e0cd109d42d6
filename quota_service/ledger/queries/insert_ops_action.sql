-- What ops do, to which venue or reservation, why, and who asked for it; answers its id.
-- $1 exam, text
-- $2 action, text
-- $3 subject, text
-- $4 reason, text
-- $5 key, text
-- $6 request, text
-- $7 detail, text (JSON)
-- $8 outcome, text; null while it is not known
INSERT INTO ops_actions (exam, action, subject, reason, key_id, request_id, detail, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
RETURNING id
