-- Every API key, revoked ones too.
SELECT id, name, scopes, secret_hash, created_at, revoked_at, exams
FROM   api_keys
ORDER  BY created_at, id
