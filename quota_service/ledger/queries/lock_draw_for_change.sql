-- The room of an exam; its draw is not closed before the transaction ends. Entries still come in.
-- $1 exam, text
SELECT *
FROM   waiting_rooms
WHERE  exam = $1
FOR    NO KEY UPDATE
