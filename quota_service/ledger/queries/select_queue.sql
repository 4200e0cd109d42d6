-- What the entries of a waiting list that wait want, in their order.
-- $1 exam, text
SELECT draw_window, rank, number, subjects, venues
FROM   waiting_list_entries
WHERE  exam = $1
AND    state = 'waiting'
ORDER  BY draw_window, coalesce(rank, ''), number
