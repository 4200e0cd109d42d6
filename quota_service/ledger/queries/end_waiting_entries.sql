-- Ends entries that wait, fenced by the epoch of the leader: as over those whose time has ended, all of them
-- where registration has, those whose sitting has begun, and those that the exam cannot serve any more; as in
-- conflict those that are named. Answers a page of them with their new states.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 whether registration is over, boolean
-- $4 subjects whose sitting has begun, text[]
-- $5 serials of entries whose candidate has the session, text[]
-- $6 serials of entries that the exam cannot serve any more, text[]
-- $7 limit, integer
WITH led AS MATERIALIZED (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    FOR    NO KEY UPDATE
), ended AS MATERIALIZED (
    SELECT e.ctid AS place
    FROM   led
    JOIN   waiting_list_entries e USING (exam)
    WHERE  e.state = 'waiting'
    AND    ($3::boolean
            OR e.until <= clock_timestamp()
            OR e.subjects && $4::text[]
            OR e.serial = ANY ($5::text[])
            OR e.serial = ANY ($6::text[]))
    LIMIT  $7
)
UPDATE waiting_list_entries e
SET    state    = CASE WHEN e.serial = ANY ($5::text[]) THEN 'conflict' ELSE 'over' END,
       ended_at = clock_timestamp()
FROM   ended
WHERE  e.ctid = ended.place
AND    e.state = 'waiting'
RETURNING e.serial, e.number, e.state
