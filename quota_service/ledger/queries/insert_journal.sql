-- Stores drained entries.
-- $1 exam, text
-- $2 epochs, bigint[]; the rest by position
-- $3 versions, bigint[]
-- $4 verbs, text[]
-- $5 subjects, text[]
-- $6 times, timestamptz[]
-- $7 bodies, text[]
-- $8 keys, text[]
-- $9 requests, text[]
INSERT INTO journal (exam, epoch, version, verb, subject, at, body, key_id, request_id)
SELECT $1, epoch, version, verb, subject, at, body, key_id, request_id
FROM   unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
              $8::text[], $9::text[])
       AS new (epoch, version, verb, subject, at, body, key_id, request_id)
