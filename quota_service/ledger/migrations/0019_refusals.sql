-- What candidates were refused within a day, by the minute: a row for each candidate or reservation and
-- slug, however often it came. It is no part of the books. Without a log of its own it costs little at
-- the busiest hour; it is empty after a crash of Postgres, on a standby that takes over, and after a restore.
CREATE UNLOGGED TABLE refusals (
    exam        text        NOT NULL,
    candidate   text        NOT NULL,
    reservation text        NOT NULL,
    slug        text        NOT NULL,
    minute      timestamptz NOT NULL,
    count       bigint      NOT NULL,
    last_at     timestamptz NOT NULL,
    key_id      text        NOT NULL,
    request_id  text        NOT NULL,
    CONSTRAINT refusals_pk PRIMARY KEY (exam, candidate, reservation, slug, minute)
) WITH (fillfactor = 80);
CREATE INDEX refusals_by_minute ON refusals (minute);
