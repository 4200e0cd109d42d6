-- An import that made or changed a definition, under the revision it made, and who asked for it.
-- $1 exam, text
-- $2 key, text
-- $3 request, text
-- $4 changes, text (JSON)
INSERT INTO imports (exam, revision, key_id, request_id, changes)
SELECT id, revision, $2, $3, $4::text::jsonb
FROM   exams
WHERE  id = $1
