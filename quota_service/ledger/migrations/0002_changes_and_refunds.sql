-- Changes of venue, refunds, and what a fenced shard needs to be rebuilt.

-- A booking keeps what a rebuild of its record in Redis needs, and the pin of its last change of
-- venue, by which a change of unknown end is looked up.
ALTER TABLE bookings
    ADD COLUMN state text NOT NULL DEFAULT 'confirmed'
        CONSTRAINT bookings_state CHECK (state IN ('confirmed', 'refunded')),
    ADD COLUMN request_hash text NOT NULL DEFAULT '',
    ADD COLUMN last_change  text NOT NULL DEFAULT '';
CREATE INDEX bookings_by_exam ON bookings (exam, reservation);
CREATE INDEX bookings_by_shard
    ON bookings (exam, (split_part(reservation, '.', 2)::integer), reservation);

-- One refund for each person and exam. The seats are returned in Redis afterwards.
CREATE TABLE refunds (
    exam              text        NOT NULL,
    candidate         text        NOT NULL,
    reservation       text        NOT NULL
                      CONSTRAINT refunds_booking_fk REFERENCES bookings (reservation)
                      CONSTRAINT refunds_one_a_booking UNIQUE,
    refunded_at       timestamptz NOT NULL DEFAULT now(),
    seats_returned_at timestamptz,
    CONSTRAINT refunds_one_a_person PRIMARY KEY (exam, candidate)
);
CREATE INDEX refunds_to_return ON refunds (refunded_at) WHERE seats_returned_at IS NULL;

-- Money that has to go back, until ops say that it has (P6). `exam` is null where the payment named
-- a reservation of no exam we know.
CREATE TABLE refunds_due (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT refunds_due_pk PRIMARY KEY,
    event       text        NOT NULL
                CONSTRAINT refunds_due_event_fk REFERENCES payment_events (event)
                CONSTRAINT refunds_due_one_an_event UNIQUE,
    exam        text,
    reservation text        NOT NULL,
    reason      text        NOT NULL,
    amount      bigint      NOT NULL,
    currency    text        NOT NULL,
    due_at      timestamptz NOT NULL DEFAULT now(),
    settled_at  timestamptz,
    settled_by  text,
    CONSTRAINT refunds_due_settled CHECK ((settled_at IS NULL) = (settled_by IS NULL))
);
CREATE INDEX refunds_due_open ON refunds_due (exam, id) WHERE settled_at IS NULL;
INSERT INTO refunds_due (event, exam, reservation, reason, amount, currency, due_at)
SELECT p.event, e.id, p.reservation, p.reason, p.amount, p.currency, p.received_at
FROM   payment_events p
LEFT   JOIN exams e ON e.id = split_part(p.reservation, '.', 1)
WHERE  p.outcome = 'refund_due'
ORDER  BY p.received_at, p.event;

-- Where each shard's journal was drained up to. A table of its own: a drain locks its row for as
-- long as it works, and confirmations hold a share lock on the shard's.
CREATE TABLE journal_positions (
    exam            text    NOT NULL,
    shard           integer NOT NULL,
    drained_epoch   bigint  NOT NULL DEFAULT 0,
    drained_version bigint  NOT NULL DEFAULT 0,
    CONSTRAINT journal_positions_pk PRIMARY KEY (exam, shard),
    CONSTRAINT journal_positions_shard_fk FOREIGN KEY (exam, shard) REFERENCES shards (exam, shard)
);
INSERT INTO journal_positions (exam, shard, drained_epoch, drained_version)
SELECT exam, shard, drained_epoch, drained_version
FROM   shards;
ALTER TABLE shards
    DROP COLUMN drained_epoch,
    DROP COLUMN drained_version,
    DROP CONSTRAINT shards_state,
    ADD CONSTRAINT shards_state CHECK (state IN ('new', 'open', 'fenced'));

-- What a rebuild of Redis reads, and what it found. `recovered_version` is the last step before it
-- that is known; holds acknowledged behind it are `holds_lost`, as far as a process remembers them.
ALTER TABLE bookings
    ADD COLUMN first_deadline timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN first_venue    text        NOT NULL DEFAULT '';
UPDATE bookings SET first_venue = venue;
ALTER TABLE booking_items
    ADD COLUMN position smallint NOT NULL DEFAULT 0;
CREATE INDEX reservations_by_age ON reservations (exam, shard, created_at, id);
CREATE TABLE rebuilds (
    exam              text        NOT NULL,
    shard             integer     NOT NULL,
    epoch             bigint      NOT NULL,
    reason            text        NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now(),
    finished_at       timestamptz,
    recovered_epoch   bigint      NOT NULL DEFAULT 0,
    recovered_version bigint      NOT NULL DEFAULT 0,
    bookings          bigint      NOT NULL DEFAULT 0,
    holds             bigint      NOT NULL DEFAULT 0,
    holds_left_out    bigint      NOT NULL DEFAULT 0,
    holds_lost        bigint      NOT NULL DEFAULT 0,
    holds_restored    bigint      NOT NULL DEFAULT 0,
    CONSTRAINT rebuilds_pk PRIMARY KEY (exam, shard, epoch)
);

-- Milliseconds since the Unix epoch, as records in Redis have them.
CREATE FUNCTION ms(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN round(extract(epoch FROM moment) * 1000)::bigint;

-- What the audit repaired.
CREATE TABLE audit_entries (
    id      bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_entries_pk PRIMARY KEY,
    exam    text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    promise text        NOT NULL,
    place   text        NOT NULL,
    detail  text        NOT NULL
);
