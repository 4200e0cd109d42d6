-- Refunds; refunds_one_a_person refuses a second one of a person for an exam, but of those by ops.
-- $1 reservations, text[]; the rest by position
-- $2 exams, text[]
-- $3 candidates, text[]
-- $4 keys, text[]
-- $5 requests, text[]
-- $6 whether ops made them, boolean[]
INSERT INTO refunds (reservation, exam, candidate, key_id, request_id, by_ops)
SELECT *
FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
       AS new (reservation)
ORDER  BY 2, 3, 1
