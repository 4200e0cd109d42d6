-- A page of what ops did, in the order it began: all of it, or what concerns a candidate or a
-- reservation. A step under the same key and request belongs to the act that made it, such as the
-- move-out of a venue.
-- $1 exam, text; all where null
-- $2 candidate, text; any where null
-- $3 reservation, text; any where null
-- $4 after this id, bigint
-- $5 limit, integer
WITH theirs AS (
    SELECT r.exam, r.id
    FROM   exams e
    JOIN   reservations r ON r.exam = e.id AND r.candidate = $2::text
    UNION
    SELECT b.exam, b.reservation
    FROM   exams e
    JOIN   bookings b ON b.exam = e.id AND b.candidate = $2::text
    UNION
    SELECT split_part($3::text, '.', 1), $3::text
    WHERE  $3::text IS NOT NULL
)
SELECT a.id, a.exam, a.at, a.action, a.subject, a.reason, a.key_id, a.request_id,
       a.detail::text AS detail, a.outcome
FROM   ops_actions a
WHERE  ($1::text IS NULL OR a.exam = $1)
AND    (coalesce($2::text, $3::text) IS NULL
        OR (a.action IN ('reserve', 'revoke-tokens') AND a.subject = $2)
        OR a.subject IN (SELECT t.id FROM theirs t)
        OR (a.exam, a.key_id, a.request_id) IN (
            SELECT j.exam, j.key_id, j.request_id
            FROM   theirs t
            JOIN   journal j ON j.exam = t.exam AND j.subject = split_part(t.id, '.', 3)
            WHERE  j.request_id <> ''))
AND    a.id > $4
ORDER  BY a.id
LIMIT  $5
