-- How many entries wait before one that want a seat which it wants too.
-- $1 exam, text
-- $2 its window, bigint
-- $3 its rank, text; null where it has none
-- $4 its number, bigint
-- $5 its subjects, text[]
-- $6 its venues, text[]
-- $7 count no further, integer
SELECT count(*)
FROM   (SELECT
        FROM   waiting_list_entries
        WHERE  exam = $1
        AND    state = 'waiting'
        AND    (draw_window, coalesce(rank, ''), number) < ($2, coalesce($3::text, ''), $4)
        AND    subjects && $5::text[]
        AND    venues && $6::text[]
        LIMIT  $7) AS ahead
