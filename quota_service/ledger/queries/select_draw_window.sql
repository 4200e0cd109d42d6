-- A window of the draw of a waiting list: its seed, and whether it was drawn.
-- $1 exam, text
-- $2 window, bigint
SELECT draw_seed, false AS is_drawn
FROM   waiting_lists
WHERE  exam = $1
AND    draw_window = $2
UNION  ALL
SELECT draw_seed, true
FROM   waiting_list_windows
WHERE  exam = $1
AND    draw_window = $2
