-- Locks the waiting lists of exams, which every writer of their entries does first; answers them.
-- $1 exams, text[]
SELECT exam, last_number, is_suspended, length_max, draw_window
FROM   waiting_lists
WHERE  exam = ANY ($1::text[])
ORDER  BY exam
FOR    NO KEY UPDATE
