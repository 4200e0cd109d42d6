-- How many payments have to go back and are not settled.
SELECT count(*)
FROM   refunds_due
WHERE  settled_at IS NULL
