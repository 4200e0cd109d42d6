-- Who did it: the API key and the request behind each step, refund, payment event and import.

-- `key_id` is the id of an API key, `provider` for payment events, `worker:…` for background work,
-- and `cli:…` for a command. It is empty in what an earlier version wrote.
ALTER TABLE journal
    ADD COLUMN key_id     text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '';
ALTER TABLE payment_events
    ADD COLUMN request_id text NOT NULL DEFAULT '';
ALTER TABLE refunds
    ADD COLUMN key_id     text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '';

-- Every import that made or changed a definition; it stays for good.
CREATE TABLE imports (
    exam       text        NOT NULL CONSTRAINT imports_exam_fk REFERENCES exams (id),
    revision   bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    key_id     text        NOT NULL,
    request_id text        NOT NULL,
    changes    jsonb       NOT NULL,
    CONSTRAINT imports_pk PRIMARY KEY (exam, revision)
);
