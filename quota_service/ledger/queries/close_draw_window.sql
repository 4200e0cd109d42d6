-- Ends the window that entries join now, if there are any in it, and begins the next; fenced by the epoch of
-- the leader.
-- $1 exam, text
-- $2 leader_epoch, bigint
WITH led AS MATERIALIZED (
    SELECT exam, draw_window, draw_seed
    FROM   waiting_lists
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    FOR    NO KEY UPDATE
), ended AS (
    INSERT INTO waiting_list_windows (exam, draw_window, draw_seed)
    SELECT exam, draw_window, draw_seed
    FROM   led
    WHERE  EXISTS (
        SELECT FROM waiting_list_entries e
        WHERE  e.exam = led.exam
        AND    e.draw_window = led.draw_window
        AND    e.state = 'waiting'
    )
    RETURNING exam
)
UPDATE waiting_lists l
SET    draw_window = l.draw_window + 1,
       draw_seed   = DEFAULT
FROM   ended
WHERE  l.exam = ended.exam
RETURNING l.draw_window
