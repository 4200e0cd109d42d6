-- The entries that wait, in order: by number, or as they were drawn. Those of a window that goes on are not
-- drawn yet. With lists of ids only those that want one of the subjects at one of the venues.
-- $1 exam, text
-- $2 whether they are drawn, boolean
-- $3 subjects, text[] (null: all)
-- $4 venues, text[]
-- $5 limit, integer (null: all)
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    state = 'waiting'
AND    (NOT $2::boolean OR rank IS NOT NULL)
AND    ($3::text[] IS NULL OR (subjects && $3::text[] AND venues && $4::text[]))
ORDER  BY CASE WHEN $2::boolean THEN draw_window END,
          CASE WHEN $2::boolean THEN rank END,
          number
LIMIT  $5::integer
