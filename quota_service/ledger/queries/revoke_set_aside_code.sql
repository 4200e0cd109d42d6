-- Revokes a code of a set-aside; answers when it was.
-- $1 exam, text
-- $2 set_aside, text
-- $3 id, text
UPDATE set_aside_codes
SET    revoked_at = coalesce(revoked_at, now())
WHERE  exam = $1
AND    set_aside = $2
AND    id = $3
RETURNING number,
          uses_max,
          note,
          made_at,
          revoked_at
