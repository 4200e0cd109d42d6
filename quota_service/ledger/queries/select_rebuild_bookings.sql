-- A page of a shard's bookings by reservation, as the records Redis keeps of them.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this reservation, text
-- $4 limit, integer
SELECT b.reservation,
       concat_ws('|', b.state, b.candidate, b.venue, i.subjects, i.sessions, b.amount, b.currency,
                 t.reserved_ms, t.deadline_ms, t.deadline_ms, t.deadline_ms, 1, 1, '', 0, b.request_hash, '', b.first_venue) AS record
FROM   bookings b
CROSS  JOIN LATERAL (
    SELECT string_agg(subject, ',' ORDER BY position, session) AS subjects,
           string_agg(session, ',' ORDER BY position, session) AS sessions
    FROM   booking_items
    WHERE  booking_items.reservation = b.reservation
) AS i
CROSS  JOIN LATERAL (
    SELECT (extract(epoch FROM b.reserved_at) * 1000)::bigint    AS reserved_ms,
           (extract(epoch FROM b.first_deadline) * 1000)::bigint AS deadline_ms
    OFFSET 0  -- computed once a row, not once a use
) AS t
WHERE  b.exam = $1
AND    split_part(b.reservation, '.', 2)::integer = $2
AND    b.reservation > $3
AND    b.state = 'confirmed'
ORDER  BY b.reservation
LIMIT  $4
