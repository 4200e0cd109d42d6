-- How an act of ops ended: `done`, or the slug of what refused it. Null: it is under way, or nobody
-- could say, as of acts before this migration and of those by processes of the version before.
ALTER TABLE ops_actions
    ADD COLUMN outcome text;
CREATE INDEX ops_actions_by_subject ON ops_actions (subject);
