-- The journal of an exam is removed; so are the rows about it.
-- $1 exam, text
WITH steps AS (
    DELETE FROM waiting_room_steps WHERE exam = $1
), gaps AS (
    DELETE FROM journal_gaps WHERE exam = $1
), waiting AS (
    DELETE FROM returned_seats WHERE exam = $1
), recovered AS (
    DELETE FROM recoveries r
    USING  shards s
    WHERE  r.exam = $1
    AND    s.exam = r.exam
    AND    r.epoch < s.epoch
)
UPDATE shards
SET    journal_pruned_at = now()
WHERE  exam = $1
