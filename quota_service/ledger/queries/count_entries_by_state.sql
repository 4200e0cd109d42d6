-- How many entries of a waiting list are in each state.
-- $1 exam, text
SELECT state, count(*)
FROM   waiting_list_entries
WHERE  exam = $1
GROUP  BY state
