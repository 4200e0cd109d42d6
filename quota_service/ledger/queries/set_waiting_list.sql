-- Pauses the dealing of a waiting list, suspends joining it, or ends either.
-- $1 exam, text
-- $2 paused, boolean; null: as it is
-- $3 suspended, boolean; null: as it is
UPDATE waiting_lists
SET    is_paused    = coalesce($2, is_paused),
       is_suspended = coalesce($3, is_suspended)
WHERE  exam = $1
