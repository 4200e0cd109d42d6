-- Waits for the entries that are on their way into a draw, and keeps others out until the transaction ends.
-- $1 exam, text
SELECT 1
FROM   waiting_rooms
WHERE  exam = $1
FOR    UPDATE
