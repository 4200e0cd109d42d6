-- Ends what is left of the waiting list of an exam that is over: an offer that was paid for has its
-- booking.
-- $1 exam, text
UPDATE waiting_list_entries e
SET    state    = CASE
                      WHEN e.state = 'waiting' THEN 'over'
                      WHEN b.reservation IS NULL THEN 'missed'
                      ELSE 'served'
                  END,
       ended_at = clock_timestamp()
FROM   waiting_list_entries live
LEFT   JOIN bookings b ON b.reservation = live.reservation
WHERE  live.exam = $1
AND    live.state IN ('waiting', 'offered')
AND    e.exam = live.exam
AND    e.serial = live.serial
