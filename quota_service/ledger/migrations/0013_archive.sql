-- An exam that is over and settled can be archived: it leaves Redis, lists, metrics and workers, and
-- its bookings, payments and refunds stay. While Redis has not forgotten it, its shards are fenced.
ALTER TABLE exams
    ADD COLUMN archived_at timestamptz;
ALTER TABLE shards
    DROP CONSTRAINT shards_state,
    ADD CONSTRAINT shards_state CHECK (state IN ('new', 'open', 'fenced', 'archived'));
CREATE INDEX shards_to_forget ON shards (exam) WHERE state = 'fenced';
