-- Ops have sent money back; the first to say so is remembered.
-- $1 exam, text: of this exam; null, of any or none
-- $2 id, bigint
-- $3 settled by, text
UPDATE refunds_due
SET    settled_at = coalesce(settled_at, now()),
       settled_by = coalesce(settled_by, $3)
WHERE  id = $2
AND    ($1::text IS NULL OR exam = $1)
