-- Makes an endpoint, unless there are so many; answers when, or nothing.
-- $1 id, text
-- $2 url, text
-- $3 exams, text[]; null for all
-- $4 kinds, text[]; null for all
-- $5 description, text
-- $6 how many there may be, integer
INSERT INTO webhook_endpoints (id, url, exams, kinds, description)
SELECT $1, $2, $3::text[], $4::text[], $5
WHERE  (SELECT count(*) FROM webhook_endpoints WHERE deleted_at IS NULL) < $6::integer
RETURNING id
