-- Promise P9 by the stored definition: the active items of an exam that are stored under another
-- session than their subject is in, and candidates who have more than one in a session.
-- $1 exam, text
-- $2 limit, integer
WITH of_now AS (
    SELECT s.value ->> 'id'      AS subject,
           s.value ->> 'session' AS session
    FROM   exams e,
           jsonb_array_elements(e.definition -> 'subjects') AS s
    WHERE  e.id = $1
)
(SELECT 'reservation ' || i.reservation || ' ' || i.subject AS place,
        o.session                                           AS expected,
        i.session                                           AS found
 FROM   booking_items i
 JOIN   of_now o USING (subject)
 WHERE  i.exam = $1
 AND    i.active
 AND    i.session <> o.session
 LIMIT  $2)
UNION ALL
(SELECT 'candidate ' || i.candidate || ' ' || o.session,
        'one subject',
        string_agg(i.subject, ', ' ORDER BY i.subject)
 FROM   booking_items i
 JOIN   of_now o USING (subject)
 WHERE  i.exam = $1
 AND    i.active
 GROUP  BY i.candidate, o.session
 HAVING count(*) > 1
 LIMIT  $2)
