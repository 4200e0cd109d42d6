-- Keeps others from settling a refund due, or opening it again, until the transaction ends.
-- $1 id, bigint
SELECT 1
FROM   refunds_due
WHERE  id = $1
FOR    NO KEY UPDATE
