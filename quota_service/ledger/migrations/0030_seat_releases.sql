-- Seat releases: more seats for quotas, each at its time.

-- Of `capacity` so many seats came by releases; the rest is the definition's.
ALTER TABLE quotas
    ADD COLUMN released integer NOT NULL DEFAULT 0
    CONSTRAINT quotas_released CHECK (released >= 0 AND released <= capacity);

-- One row for each release, which stays: its id names it for good. `seats` is an object of seats by venue and
-- subject. A row is `done` in the transaction that raises the quotas (`ended_at`), and has `applied_at` once
-- Redis has the seats too and a dealing was asked for. `reason` is that of ops, null for a definition's.
CREATE TABLE seat_releases (
    exam       text        NOT NULL CONSTRAINT seat_releases_exam_fk REFERENCES exams (id),
    id         text        NOT NULL,
    at         timestamptz NOT NULL,
    announce   text        NOT NULL
               CONSTRAINT seat_releases_announce
               CHECK (announce IN ('time', 'time-and-venues', 'everything', 'nothing')),
    seats      jsonb       NOT NULL,
    source     text        NOT NULL
               CONSTRAINT seat_releases_source CHECK (source IN ('definition', 'ops')),
    state      text        NOT NULL DEFAULT 'planned'
               CONSTRAINT seat_releases_state CHECK (state IN ('planned', 'done', 'cancelled')),
    reason     text,
    key_id     text        NOT NULL,
    request_id text        NOT NULL,
    planned_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    applied_at timestamptz,
    CONSTRAINT seat_releases_pk PRIMARY KEY (exam, id),
    CONSTRAINT seat_releases_reason CHECK ((source = 'ops') = (reason IS NOT NULL)),
    CONSTRAINT seat_releases_end CHECK ((state = 'planned') = (ended_at IS NULL)),
    CONSTRAINT seat_releases_applied CHECK (applied_at IS NULL OR state = 'done')
);
CREATE INDEX seat_releases_unfinished ON seat_releases (at)
    WHERE state = 'planned' OR (state = 'done' AND applied_at IS NULL);
