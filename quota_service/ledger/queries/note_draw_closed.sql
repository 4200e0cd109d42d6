-- Notes that the draw of a waiting room is closed, which it stays; when it was noted before, that
-- time stands.
-- $1 exam, text
UPDATE waiting_rooms
SET    opened_at = coalesce(opened_at, clock_timestamp())
WHERE  exam = $1
RETURNING *
