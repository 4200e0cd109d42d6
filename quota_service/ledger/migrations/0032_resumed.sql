-- When the last pause of an exam as a whole was ended, in ms since the epoch by Redis's clock; 0 where none was. Places
-- and passes of its waiting room are kept over a pause, and their time begins again at its end.
ALTER TABLE exams
    ADD COLUMN resumed_at_ms bigint NOT NULL DEFAULT 0;
