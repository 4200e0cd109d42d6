-- What was refunded in a shard within the last day, as the records Redis keeps of it.
-- $1 exam, text
-- $2 shard, integer
SELECT b.reservation,
       concat_ws('|', 'refunded', b.candidate, b.venue, i.subjects, i.sessions, b.amount, b.currency,
                 ms(b.reserved_at), ms(b.first_deadline), ms(b.first_deadline),
                 ms(b.first_deadline), 1, 1, '', 0, b.request_hash, '', b.first_venue) AS record
FROM   refunds r
JOIN   bookings b USING (reservation)
CROSS  JOIN LATERAL (
    SELECT string_agg(subject, ',' ORDER BY position, session) AS subjects,
           string_agg(session, ',' ORDER BY position, session) AS sessions
    FROM   booking_items
    WHERE  booking_items.reservation = b.reservation
) AS i
WHERE  r.exam = $1
AND    split_part(b.reservation, '.', 2)::integer = $2
AND    r.refunded_at > now() - interval '1 day'
ORDER  BY b.reservation
