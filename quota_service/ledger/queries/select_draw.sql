-- The windows of the draw of a waiting list, the newest first: the one that entries join now without the time it
-- was drawn.
-- $1 exam, text
-- $2 limit, integer
SELECT draw_window, draw_seed, NULL::timestamptz AS drawn_at
FROM   waiting_lists
WHERE  exam = $1
UNION  ALL
(
    SELECT draw_window, draw_seed, drawn_at
    FROM   waiting_list_windows
    WHERE  exam = $1
    ORDER  BY draw_window DESC
    LIMIT  $2
)
