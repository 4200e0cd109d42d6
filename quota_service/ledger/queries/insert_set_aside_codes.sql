-- New codes of a set-aside; one that is there stays as it is. Answers those that are new.
-- $1 exam, text
-- $2 set_aside, text
-- $3 ids, text[]
-- $4 hashes, bytea[], by position
-- $5 uses at most, integer
-- $6 note, text
INSERT INTO set_aside_codes (exam, set_aside, id, hash, uses_max, note)
SELECT $1, $2, id, hash, $5, $6
FROM   unnest($3::text[], $4::bytea[]) AS new (id, hash)
ORDER  BY id
ON CONFLICT ON CONSTRAINT set_aside_codes_one_a_hash DO NOTHING
RETURNING id
