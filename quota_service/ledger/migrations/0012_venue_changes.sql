-- How often a booking has changed its venue, its time as a hold included: an exam bounds it.
ALTER TABLE bookings
    ADD COLUMN venue_changes integer NOT NULL DEFAULT 0;

-- The last field of a record, as `lua/include/record.lua` has it.
CREATE OR REPLACE VIEW booking_records AS
SELECT b.reservation,
       b.exam,
       split_part(b.reservation, '.', 2)::integer AS shard,
       b.state,
       b.step_epoch,
       b.step_version,
       concat_ws('|', b.state, b.candidate, b.venue, i.subjects, i.sessions, b.amount, b.currency,
                 t.reserved_ms, t.deadline_ms, t.deadline_ms, t.deadline_ms, 1, 1, '', 0,
                 b.request_hash, '', b.first_venue, b.venue_changes) AS record
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
) AS t;
