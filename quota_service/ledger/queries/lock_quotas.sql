-- Locks the quotas of an exam in the order in which every transaction takes them.
-- $1 exam, text
SELECT count(*)
FROM   (
    SELECT
    FROM   quotas
    WHERE  exam = $1
    ORDER  BY venue, subject
    FOR    NO KEY UPDATE
) AS locked
