-- Stores drained entries.
-- $1 exam, text
-- $2 shard, integer
-- $3 epochs, bigint[]; the rest by position
-- $4 versions, bigint[]
-- $5 verbs, text[]
-- $6 subjects, text[]
-- $7 times, timestamptz[]
-- $8 bodies, text[]
INSERT INTO journal (exam, shard, epoch, version, verb, subject, at, body)
SELECT $1, $2, epoch, version, verb, subject, at, body
FROM   unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
       AS new (epoch, version, verb, subject, at, body)
