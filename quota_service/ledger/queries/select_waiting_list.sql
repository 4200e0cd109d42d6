-- The waiting list of an exam.
-- $1 exam, text
SELECT exam, last_number, is_paused, is_suspended, length_max, draw_window
FROM   waiting_lists
WHERE  exam = $1
