-- Sets the set-asides of an exam; one that is over stays as it was.
-- $1 exam, text
-- $2 ids, text[]; the rest by position
-- $3 until, timestamptz[]
-- $4 seats of each quota, text[] (JSON)
INSERT INTO set_asides (exam, id, until, seats)
SELECT $1, id, until, seats::jsonb
FROM   unnest($2::text[], $3::timestamptz[], $4::text[]) AS new (id, until, seats)
ORDER  BY id
ON CONFLICT ON CONSTRAINT set_asides_pk DO UPDATE
SET    until = excluded.until,
       seats = excluded.seats
WHERE  set_asides.state = 'on'
