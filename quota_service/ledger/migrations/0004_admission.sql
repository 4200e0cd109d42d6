-- Admission: the time that counts towards the grace of a claim.

-- A turn is honoured for a while after it came. That while is counted in healthy time alone, which
-- stands still in a pause and in every outage, so that neither eats anybody's grace.
ALTER TABLE waiting_rooms
    ADD COLUMN healthy_ms bigint NOT NULL DEFAULT 0
        CONSTRAINT waiting_rooms_healthy CHECK (healthy_ms >= 0),
    ADD COLUMN steps bigint NOT NULL DEFAULT 0
        CONSTRAINT waiting_rooms_steps CHECK (steps >= 0);
ALTER TABLE waiting_room_steps
    ADD COLUMN healthy_ms bigint NOT NULL DEFAULT 0;
CREATE INDEX waiting_room_steps_by_healthy_time ON waiting_room_steps (exam, healthy_ms, step);
