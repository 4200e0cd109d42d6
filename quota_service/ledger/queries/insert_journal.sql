-- Stores drained entries.
-- $1 exam, text
-- $2 shard, integer
-- $3 epochs, bigint[]; the rest by position
-- $4 versions, bigint[]
-- $5 verbs, text[]
-- $6 subjects, text[]
-- $7 times, timestamptz[]
-- $8 bodies, text[]
-- $9 keys, text[]
-- $10 requests, text[]
INSERT INTO journal (exam, shard, epoch, version, verb, subject, at, body, key_id, request_id)
SELECT $1, $2, epoch, version, verb, subject, at, body, key_id, request_id
FROM   unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
              $9::text[], $10::text[])
       AS new (epoch, version, verb, subject, at, body, key_id, request_id)
