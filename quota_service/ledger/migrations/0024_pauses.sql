-- What ops have paused of an exam: a list of scopes, each with its reason, since when, and what it stops.
ALTER TABLE exams
    ADD COLUMN pauses jsonb NOT NULL DEFAULT '[]';
