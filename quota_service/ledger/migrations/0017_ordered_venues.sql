-- The venues that a candidate ordered, in order of choice: where a booking or a hold goes first when its
-- venue falls out. Null where one was ordered, and where a process of the version before drained the
-- entry that tells.
ALTER TABLE reservations
    ADD COLUMN venues text[];
