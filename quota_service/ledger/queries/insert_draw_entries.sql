-- Enters candidates into draws that are not closed, and returns the exams whose draw it is. A draw that
-- is being closed waits for this, and this for it.
-- $1 exam of each entry, text[]
-- $2 leaf of each entry, bytea[]
WITH open_draws AS (
    SELECT exam
    FROM   waiting_rooms
    WHERE  exam = ANY ($1::text[])
    AND    opened_at IS NULL
    AND    source IS NOT NULL
    ORDER  BY exam
    FOR    KEY SHARE
), entered AS (
    INSERT INTO draw_entries (exam, leaf)
    SELECT e.exam, e.leaf
    FROM   unnest($1::text[], $2::bytea[]) AS e (exam, leaf)
    JOIN   open_draws USING (exam)
    ORDER  BY e.exam, e.leaf
    ON     CONFLICT DO NOTHING
)
SELECT exam
FROM   open_draws
