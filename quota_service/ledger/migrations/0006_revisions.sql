-- Revisions of definitions are never given twice, not even after a transaction that was rolled
-- back: Redis may have heard of it.
CREATE SEQUENCE exam_revisions AS bigint;
SELECT setval('exam_revisions', coalesce(max(revision), 0) + 1, false) FROM exams;
ALTER TABLE exams
    ALTER COLUMN revision SET DEFAULT nextval('exam_revisions');
