-- Keeps each reservation as its newest entry left it.
-- $1 exam, text
-- $2 ids, text[]; the rest by position
-- $3 candidates, text[]
-- $4 states, text[]
-- $5 records, text[]
-- $6 epochs, bigint[]
-- $7 versions, bigint[]
-- $8 created at, timestamptz[]
-- $9 venues in order of choice, text[]: joined by commas; null where the entries do not tell
INSERT INTO reservations (id, exam, candidate, state, record, epoch, version, created_at, venues)
SELECT id, $1, candidate, state, record, epoch, version, created_at, string_to_array(venues, ',')
FROM   unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
              $8::timestamptz[], $9::text[])
       AS new (id, candidate, state, record, epoch, version, created_at, venues)
ON CONFLICT ON CONSTRAINT reservations_pk DO UPDATE
SET    state   = excluded.state,
       record  = excluded.record,
       epoch   = excluded.epoch,
       version = excluded.version,
       venues  = coalesce(excluded.venues, reservations.venues)
WHERE  (reservations.epoch, reservations.version) < (excluded.epoch, excluded.version)
