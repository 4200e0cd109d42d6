-- Pauses admission, or lets it go on.
-- $1 exam, text
-- $2 paused, boolean
UPDATE waiting_rooms
SET    paused = $2
WHERE  exam = $1
RETURNING *
