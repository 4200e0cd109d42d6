-- The ledger: exams and their quotas, payments and bookings, the drained journal, API keys.
-- Constraints carry names, because a violated one becomes a domain error by its name.

CREATE TABLE exams (
    id         text        NOT NULL CONSTRAINT exams_pk PRIMARY KEY,
    definition jsonb       NOT NULL,
    revision   bigint      NOT NULL DEFAULT 1,
    shards     integer     NOT NULL DEFAULT 1 CONSTRAINT exams_has_shards CHECK (shards > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A shard is 'new' until Redis has opened it for the first time; nothing is served from it before.
CREATE TABLE shards (
    exam            text    NOT NULL CONSTRAINT shards_exam_fk REFERENCES exams (id),
    shard           integer NOT NULL CONSTRAINT shards_number CHECK (shard >= 0),
    epoch           bigint  NOT NULL DEFAULT 1 CONSTRAINT shards_epoch CHECK (epoch > 0),
    state           text    NOT NULL DEFAULT 'new'
                    CONSTRAINT shards_state CHECK (state IN ('new', 'open')),
    drained_epoch   bigint  NOT NULL DEFAULT 0,
    drained_version bigint  NOT NULL DEFAULT 0,
    CONSTRAINT shards_pk PRIMARY KEY (exam, shard)
);

-- Promise P1 is this table's CHECK: whatever happens to Redis, nothing is sold twice.
CREATE TABLE quotas (
    exam      text    NOT NULL CONSTRAINT quotas_exam_fk REFERENCES exams (id),
    venue     text    NOT NULL,
    subject   text    NOT NULL,
    capacity  integer NOT NULL CONSTRAINT quotas_capacity CHECK (capacity >= 0),
    confirmed integer NOT NULL DEFAULT 0 CONSTRAINT quotas_confirmed CHECK (confirmed >= 0),
    CONSTRAINT quotas_pk PRIMARY KEY (exam, venue, subject),
    CONSTRAINT quotas_never_oversold CHECK (confirmed <= capacity)
) WITH (fillfactor = 50);

-- One row for each event of the payment provider, with how it ended (P2, P4, P6).
CREATE TABLE payment_events (
    event              text        NOT NULL CONSTRAINT payment_events_pk PRIMARY KEY,
    reservation        text        NOT NULL,
    status             text        NOT NULL
                       CONSTRAINT payment_events_status CHECK (status IN ('captured', 'failed')),
    outcome            text        NOT NULL
                       CONSTRAINT payment_events_outcome
                       CHECK (outcome IN ('confirmed', 'refund_due', 'ignored')),
    reason             text,
    amount             bigint      NOT NULL,
    currency           text        NOT NULL,
    paid_at            timestamptz NOT NULL,
    provider_reference text        NOT NULL,
    body_hash          text        NOT NULL,
    received_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_events_reason CHECK ((outcome = 'refund_due') = (reason IS NOT NULL)),
    CONSTRAINT payment_events_captured CHECK ((status = 'failed') = (outcome = 'ignored'))
);
CREATE INDEX payment_events_by_reservation ON payment_events (reservation);

-- The fate of a pin is decided by whoever writes its row first: the confirmation that books under
-- it, or the recovery that gives it up. The other one finds the row and follows.
CREATE TABLE settled_pins (
    reservation text        NOT NULL,
    pin         text        NOT NULL,
    settled_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT settled_pins_pk PRIMARY KEY (reservation, pin)
);

CREATE TABLE bookings (
    reservation  text        NOT NULL CONSTRAINT bookings_pk PRIMARY KEY,
    exam         text        NOT NULL CONSTRAINT bookings_exam_fk REFERENCES exams (id),
    candidate    text        NOT NULL,
    venue        text        NOT NULL,
    amount       bigint      NOT NULL CONSTRAINT bookings_amount CHECK (amount >= 0),
    currency     text        NOT NULL,
    event        text        NOT NULL CONSTRAINT bookings_event_fk
                             REFERENCES payment_events (event)
                             CONSTRAINT bookings_one_payment UNIQUE,
    reserved_at  timestamptz NOT NULL,
    confirmed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX bookings_by_candidate ON bookings (exam, candidate);

-- Promise P9 in Postgres: one active item for each candidate and session of an exam.
CREATE TABLE booking_items (
    reservation text    NOT NULL CONSTRAINT booking_items_booking_fk REFERENCES bookings,
    exam        text    NOT NULL,
    candidate   text    NOT NULL,
    session     text    NOT NULL,
    venue       text    NOT NULL,
    subject     text    NOT NULL,
    active      boolean NOT NULL DEFAULT true,
    CONSTRAINT booking_items_pk PRIMARY KEY (reservation, subject)
);
CREATE UNIQUE INDEX booking_items_one_subject_a_session
    ON booking_items (exam, candidate, session) WHERE active;

-- Every step of every shard, drained from Redis exactly once: the audit trail.
CREATE TABLE journal (
    exam    text        NOT NULL,
    shard   integer     NOT NULL,
    epoch   bigint      NOT NULL,
    version bigint      NOT NULL,
    verb    text        NOT NULL,
    subject text        NOT NULL,
    at      timestamptz NOT NULL,
    body    text        NOT NULL,
    CONSTRAINT journal_pk PRIMARY KEY (exam, shard, epoch, version)
);
CREATE INDEX journal_by_subject ON journal (exam, subject);

-- Each reservation as its last journal entry left it: what a candidate had, and what a rebuild of
-- Redis reads. It trails Redis by the journal's lag.
CREATE TABLE reservations (
    id         text        NOT NULL CONSTRAINT reservations_pk PRIMARY KEY,
    exam       text        NOT NULL,
    shard      integer     NOT NULL,
    candidate  text        NOT NULL,
    state      text        NOT NULL,
    record     text        NOT NULL,
    epoch      bigint      NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX reservations_by_candidate ON reservations (exam, candidate);

-- Journal entries that could not be stored: tried a few times, then set aside for a person.
CREATE TABLE journal_quarantine (
    exam           text        NOT NULL,
    shard          integer     NOT NULL,
    entry          text        NOT NULL,
    fields         jsonb       NOT NULL,
    error          text        NOT NULL,
    tries          integer     NOT NULL DEFAULT 1,
    quarantined_at timestamptz,
    CONSTRAINT journal_quarantine_pk PRIMARY KEY (exam, shard, entry)
);

CREATE TABLE api_keys (
    id          text        NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
    name        text        NOT NULL,
    scopes      text[]      NOT NULL,
    secret_hash text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
