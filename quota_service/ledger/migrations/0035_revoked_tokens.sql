-- Candidate tokens that were revoked: all of a candidate that were issued until then, or one.

-- Tokens are stored nowhere: every process keeps these rows in memory while such tokens can be in use.
-- `token` is '' for all of the candidate. `written_in` is the transaction that wrote the row: who has
-- read up to a snapshot reads what was not committed in it, and misses nothing that commits later.
CREATE TABLE revoked_candidate_tokens (
    exam       text        NOT NULL,
    candidate  text        NOT NULL,
    token      text        NOT NULL DEFAULT '',
    revoked_at timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    key_id     text        NOT NULL,
    request_id text        NOT NULL,
    written_in xid8        NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT revoked_candidate_tokens_pk PRIMARY KEY (exam, candidate, token)
);
CREATE INDEX revoked_candidate_tokens_by_transaction ON revoked_candidate_tokens (written_in);
CREATE INDEX revoked_candidate_tokens_by_end ON revoked_candidate_tokens (until);
