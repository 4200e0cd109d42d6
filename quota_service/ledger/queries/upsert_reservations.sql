-- Keeps each reservation as its newest entry left it.
-- $1 exam, text
-- $2 shard, integer
-- $3 ids, text[]; the rest by position
-- $4 candidates, text[]
-- $5 states, text[]
-- $6 records, text[]
-- $7 epochs, bigint[]
-- $8 versions, bigint[]
-- $9 created at, timestamptz[]
-- $10 venues in order of choice, text[]: joined by commas; null where the entries do not tell
INSERT INTO reservations (id, exam, shard, candidate, state, record, epoch, version, created_at, venues)
SELECT id, $1, $2, candidate, state, record, epoch, version, created_at, string_to_array(venues, ',')
FROM   unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
              $9::timestamptz[], $10::text[])
       AS new (id, candidate, state, record, epoch, version, created_at, venues)
ON CONFLICT ON CONSTRAINT reservations_pk DO UPDATE
SET    state   = excluded.state,
       record  = excluded.record,
       epoch   = excluded.epoch,
       version = excluded.version,
       venues  = coalesce(excluded.venues, reservations.venues)
WHERE  (reservations.epoch, reservations.version) < (excluded.epoch, excluded.version)
