-- What of an exam is paused from now on, under a revision that `next_revision` gave.
-- $1 exam, text
-- $2 pauses, text (JSON)
-- $3 revision, bigint
-- $4 when the last pause of all of it was ended, ms since the epoch, bigint; 0 for never
UPDATE exams
SET    pauses        = $2::text::jsonb,
       revision      = $3,
       resumed_at_ms = $4,
       updated_at    = now()
WHERE  id = $1
