-- Sets how many entries may wait for a quota.
-- $1 exam, text
-- $2 the most, integer; null: as the definition has it
UPDATE waiting_lists
SET    length_max = $2
WHERE  exam = $1
