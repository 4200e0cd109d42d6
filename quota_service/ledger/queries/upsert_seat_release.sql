-- A seat release that is planned, or planned otherwise while it is.
-- $1 exam, text
-- $2 id, text
-- $3 at, timestamptz
-- $4 announce, text
-- $5 seats, text (JSON): by venue and subject
-- $6 source, text
-- $7 reason of ops, text
-- $8 key id, text
-- $9 request id, text
INSERT INTO seat_releases (exam, id, at, announce, seats, source, reason, key_id, request_id)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9)
ON CONFLICT ON CONSTRAINT seat_releases_pk DO UPDATE
SET    at         = excluded.at,
       announce   = excluded.announce,
       seats      = excluded.seats,
       key_id     = excluded.key_id,
       request_id = excluded.request_id,
       planned_at = excluded.planned_at
WHERE  seat_releases.state = 'planned'
