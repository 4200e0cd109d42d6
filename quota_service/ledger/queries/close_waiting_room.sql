-- Ends the admission of an exam whose registration is over: it has no leader, and when
-- whose turn came is of no use.
-- $1 exam, text
WITH forgotten AS (
    DELETE FROM waiting_room_steps
    WHERE  exam = $1
), given_up AS (
    UPDATE waiting_rooms
    SET    leader       = NULL,
           lease_until  = NULL,
           leader_epoch = leader_epoch + 1
    WHERE  exam = $1
    AND    leader IS NOT NULL
    RETURNING exam
)
SELECT exam
FROM   given_up
