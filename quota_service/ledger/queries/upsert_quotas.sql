-- Sets the capacity of quotas; quotas_never_oversold refuses one below what is confirmed. Of a quota that is
-- removed (0) no seats are left that came by releases.
-- $1 exam, text
-- $2 venues, text[]
-- $3 subjects, text[], by position
-- $4 capacities, integer[], by position
INSERT INTO quotas (exam, venue, subject, capacity)
SELECT $1, venue, subject, capacity
FROM   unnest($2::text[], $3::text[], $4::integer[]) AS new (venue, subject, capacity)
ORDER  BY venue, subject
ON CONFLICT ON CONSTRAINT quotas_pk DO UPDATE
SET    capacity = excluded.capacity,
       released = least(quotas.released, excluded.capacity)
