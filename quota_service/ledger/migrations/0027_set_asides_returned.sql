-- When Redis had the seats of a set-aside back whose time has come, or that is not in the definition any
-- more; null while it may have them still.
ALTER TABLE set_asides
    ADD COLUMN seats_returned_at timestamptz;
DROP INDEX set_asides_to_close;
CREATE INDEX set_asides_to_close ON set_asides (until) WHERE seats_returned_at IS NULL;
