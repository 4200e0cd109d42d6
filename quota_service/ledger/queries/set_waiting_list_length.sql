-- Sets how many entries may wait for a quota; answers the waiting list.
-- $1 exam, text
-- $2 the most, integer; null: as the definition has it
UPDATE waiting_lists
SET    length_max = $2
WHERE  exam = $1
RETURNING exam, last_number, is_paused, is_suspended, length_max, draw_window
