-- Entries whose offer is older than some seconds and not in the journal.
-- $1 exam, text
-- $2 age, interval
SELECT e.*
FROM   waiting_list_entries e
WHERE  e.exam = $1
AND    e.state = 'offered'
AND    e.offered_at < clock_timestamp() - $2::interval
AND    NOT EXISTS (SELECT FROM reservations r WHERE r.id = e.reservation)
