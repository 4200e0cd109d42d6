-- A page of the waiting entries of windows that have ended which have no rank yet, with the seeds.
-- $1 exam, text
-- $2 limit, integer
SELECT e.serial, e.candidate, w.draw_seed
FROM   waiting_list_entries e
JOIN   waiting_list_windows w USING (exam, draw_window)
WHERE  e.exam = $1
AND    e.state = 'waiting'
AND    e.rank IS NULL
LIMIT  $2
