-- A new API key; only the hash of its secret is kept.
-- $1 id, text
-- $2 name, text
-- $3 scopes, text[]
-- $4 secret hash, text
-- $5 exams it is for, text[]; null for all
-- $6 when it ends, timestamptz; null for never
INSERT INTO api_keys (id, name, scopes, secret_hash, exams, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
