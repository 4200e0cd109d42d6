-- Every API key, revoked and expired ones too.
SELECT id, name, scopes, secret_hash, created_at, revoked_at, exams, expires_at, last_used_at,
       expires_at <= now() AS is_expired
FROM   api_keys
ORDER  BY created_at, id
