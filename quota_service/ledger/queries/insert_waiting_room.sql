-- The waiting room of an exam, unless it has one. One that is made after the opening has no draw:
-- its queue begins at once.
-- $1 exam, text
-- $2 seed, bytea
-- $3 ticket_key, bytea
-- $4 pass_key, bytea
-- $5 rate_per_s, float8
-- $6 opens_at, timestamptz
INSERT INTO waiting_rooms (exam, seed, ticket_key, pass_key, rate, threshold, late_threshold,
                           opened_at)
SELECT $1::text,
       $2::bytea,
       $3::bytea,
       $4::bytea,
       $5::float8,
       repeat(digit, 64),
       repeat(digit, 64),
       CASE digit WHEN 'f' THEN now() END
FROM   (SELECT CASE WHEN $6::timestamptz <= now() THEN 'f' ELSE '0' END AS digit) opening
ON     CONFLICT (exam) DO NOTHING
