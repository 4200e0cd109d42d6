-- The code of a hash.
-- $1 exam, text
-- $2 hash, bytea
SELECT c.id,
       c.set_aside,
       c.hash,
       c.uses_max,
       c.revoked_at IS NOT NULL AS is_revoked,
       s.state = 'over'         AS is_over
FROM   set_aside_codes c
JOIN   set_asides s ON s.exam = c.exam AND s.id = c.set_aside
WHERE  c.exam = $1
AND    c.hash = $2
