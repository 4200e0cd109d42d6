-- What joins meet: the entry that each made before, and the live one of its candidate.
-- $1 exams, text[]; the rest by position
-- $2 serials, text[]
-- $3 candidates, text[]
SELECT e.*
FROM   unnest($1::text[], $2::text[]) AS asked (exam, serial)
JOIN   waiting_list_entries e USING (exam, serial)
UNION  ALL
SELECT e.*
FROM   unnest($1::text[], $2::text[], $3::text[]) AS asked (exam, serial, candidate)
JOIN   waiting_list_entries e ON e.exam = asked.exam
                             AND e.candidate = asked.candidate
                             AND e.serial <> asked.serial
                             AND e.state IN ('waiting', 'offered')
