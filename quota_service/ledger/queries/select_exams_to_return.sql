-- The exams that have refunds whose seats Redis may not have back yet.
SELECT DISTINCT exam
FROM   refunds
WHERE  seats_returned_at IS NULL
ORDER  BY exam
