-- A new API key; only the hash of its secret is kept.
-- $1 id, text
-- $2 name, text
-- $3 scopes, text[]
-- $4 secret hash, text
INSERT INTO api_keys (id, name, scopes, secret_hash)
VALUES ($1, $2, $3, $4)
