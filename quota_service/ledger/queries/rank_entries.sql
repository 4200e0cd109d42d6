-- Gives entries their ranks; the rank of one does not change.
-- $1 exam, text
-- $2 serials, text[]; the rest by position
-- $3 ranks, text[]
WITH led AS MATERIALIZED (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    rank = drawn.rank
FROM   led, unnest($2::text[], $3::text[]) AS drawn (serial, rank),
       LATERAL (
           SELECT w.ctid AS place
           FROM   waiting_list_entries w
           WHERE  w.exam = led.exam
           AND    w.serial = drawn.serial
           FOR    UPDATE
       ) AS found
WHERE  e.ctid = found.place
AND    e.rank IS NULL
