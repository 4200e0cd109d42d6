-- How an act of ops ended.
-- $1 id, bigint
-- $2 outcome, text
UPDATE ops_actions
SET    outcome = $2
WHERE  id = $1
