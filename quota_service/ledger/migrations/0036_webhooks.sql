-- Webhooks: where events are sent to, and what became of each delivery.

-- One row for each endpoint. `exams` and `kinds` null: all of them. `failures` are those since it took the
-- last delivery, `failing_since` the first of them; it is not called before `next_at`. `holder` is the worker
-- that delivers to it until `held_until`, so that one at a time does. One that is `deleted_at` is removed with
-- its deliveries by retention.
CREATE TABLE webhook_endpoints (
    id              text        NOT NULL CONSTRAINT webhook_endpoints_pk PRIMARY KEY,
    url             text        NOT NULL,
    exams           text[]      CONSTRAINT webhook_endpoints_exams CHECK (cardinality(exams) > 0),
    kinds           text[]      CONSTRAINT webhook_endpoints_kinds CHECK (cardinality(kinds) > 0),
    description     text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at     timestamptz,
    disabled_reason text
                    CONSTRAINT webhook_endpoints_disabled_reason
                    CHECK (disabled_reason IN ('ops', 'failing', 'gone')),
    deleted_at      timestamptz,
    failures        integer     NOT NULL DEFAULT 0
                    CONSTRAINT webhook_endpoints_failures CHECK (failures >= 0),
    failing_since   timestamptz,
    next_at         timestamptz NOT NULL DEFAULT now(),
    holder          text,
    held_until      timestamptz,
    CONSTRAINT webhook_endpoints_disabled CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT webhook_endpoints_held CHECK ((holder IS NULL) = (held_until IS NULL))
) WITH (fillfactor = 50);

-- The secrets of an endpoint, apart from it so that a role that may read endpoints need not read them. They
-- sign, so they are no hashes. One without `ends_at` is the newest.
CREATE TABLE webhook_secrets (
    id       bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT webhook_secrets_pk PRIMARY KEY,
    endpoint text        NOT NULL CONSTRAINT webhook_secrets_endpoint_fk
                         REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    secret   bytea       NOT NULL CONSTRAINT webhook_secrets_secret CHECK (octet_length(secret) >= 24),
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at  timestamptz
);
CREATE INDEX webhook_secrets_by_endpoint ON webhook_secrets (endpoint);
REVOKE ALL ON webhook_secrets FROM PUBLIC;

-- One row for each event and endpoint that is told of it, made in the transaction that gives the event its
-- sequence. Those of one `subject` (a reservation, else an exam) are sent one after the other. There is no
-- foreign key to the endpoint: the check would cost as much as the row, and rows go before their endpoint.
CREATE TABLE webhook_deliveries (
    endpoint       text        NOT NULL,
    sequence       bigint      NOT NULL,
    subject        text        NOT NULL,
    state          text        NOT NULL DEFAULT 'pending'
                   CONSTRAINT webhook_deliveries_state CHECK (state IN ('pending', 'delivered', 'given-up')),
    attempts       integer     NOT NULL DEFAULT 0,
    next_at        timestamptz NOT NULL DEFAULT now(),
    first_tried_at timestamptz,
    last_tried_at  timestamptz,
    last_status    integer,
    last_error     text,
    made_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_deliveries_pk PRIMARY KEY (endpoint, sequence),
    CONSTRAINT webhook_deliveries_tried
        CHECK ((attempts = 0) = (first_tried_at IS NULL) AND (attempts = 0) = (last_tried_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_at, sequence)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (endpoint, subject, sequence)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_given_up ON webhook_deliveries (endpoint, sequence)
    WHERE state = 'given-up';

-- The deliveries of an endpoint that are due, with their events: of each subject the first that is left, as order is
-- kept there. They are walked by the time at which they are due; each looks up whether it is the first. With the settings it does so
-- by indexes, also with a plan of the time when the table was empty.
CREATE FUNCTION due_webhook_deliveries(wanted text, under_way bigint[], at_most integer)
    RETURNS TABLE (sequence bigint, attempts integer, kind text, at timestamptz, exam text, reservation text,
                   candidate text, data jsonb)
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT d.sequence, d.attempts, e.kind, e.at, e.exam, e.reservation, e.candidate, e.data
    FROM   webhook_deliveries d
    CROSS  JOIN LATERAL (SELECT * FROM events v WHERE v.sequence = d.sequence OFFSET 0) AS e
    WHERE  d.endpoint = wanted
    AND    d.state = 'pending'
    AND    d.next_at <= now()
    AND    d.sequence <> ALL (under_way)
    AND    d.sequence = (SELECT f.sequence
                         FROM   webhook_deliveries f
                         WHERE  f.endpoint = d.endpoint
                         AND    f.subject = d.subject
                         AND    f.state = 'pending'
                         ORDER  BY f.endpoint, f.subject, f.sequence
                         LIMIT  1)
    ORDER  BY d.endpoint, d.next_at, d.sequence
    LIMIT  at_most;
END
$$;
