-- Sets numbers aside to be handed out, and returns the highest. None are set aside where others
-- have done it already: the mark lies beyond the limit that was reached.
-- $1 exam, text
-- $2 reached, bigint (null: set aside in any case)
-- $3 count, bigint
UPDATE waiting_rooms
SET    numbers_reserved = CASE
           WHEN numbers_reserved > $2::bigint THEN numbers_reserved
           ELSE numbers_reserved + $3::bigint
       END
WHERE  exam = $1
RETURNING numbers_reserved
