-- A venue that falls out is closed for sale: `closed` has the venue, or `venue/subject` where it is closed for some.
ALTER TABLE exams
    ADD COLUMN closed text[] NOT NULL DEFAULT '{}';

-- What ops did beyond the rules of an exam, and why; it stays for good. The steps that a call made are in
-- the journal, under the same key and request.
CREATE TABLE ops_actions (
    id         bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT ops_actions_pk PRIMARY KEY,
    exam       text        NOT NULL CONSTRAINT ops_actions_exam_fk REFERENCES exams (id),
    at         timestamptz NOT NULL DEFAULT now(),
    action     text        NOT NULL,
    subject    text        NOT NULL,
    reason     text        NOT NULL CONSTRAINT ops_actions_reason CHECK (reason <> ''),
    key_id     text        NOT NULL,
    request_id text        NOT NULL,
    detail     jsonb       NOT NULL
);
