-- Money that was settled did not arrive: it has to go back again. Each settlement is kept, once.
-- $1 id, bigint
WITH settled AS (
    INSERT INTO refund_settlements (refund, settled_at, settled_by)
    SELECT id, settled_at, settled_by
    FROM   refunds_due
    WHERE  id = $1
    AND    settled_at IS NOT NULL
    RETURNING refund
)
UPDATE refunds_due d
SET    settled_at = NULL,
       settled_by = NULL
FROM   settled
WHERE  d.id = settled.refund
