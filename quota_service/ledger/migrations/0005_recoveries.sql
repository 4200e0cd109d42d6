-- Recoveries that follow the loss, and an end for what would grow for ever.

-- A recovery goes on from the last step Redis has. `recovered_*` is the last step that Postgres
-- knew when the shard was opened under `epoch`: a server that has a later step of an earlier epoch
-- went another way. `way` says how it was done: nothing was missing (reopened), what was missing was
-- written (reconciled), or everything was (rebuilt).
ALTER TABLE rebuilds RENAME TO recoveries;
ALTER TABLE recoveries RENAME CONSTRAINT rebuilds_pk TO recoveries_pk;
ALTER TABLE recoveries RENAME COLUMN finished_at TO opened_at;
ALTER TABLE recoveries
    DROP COLUMN holds_lost,
    DROP COLUMN holds_restored,
    ADD COLUMN way text CONSTRAINT recoveries_way
        CHECK (way IN ('reopened', 'reconciled', 'rebuilt'));
UPDATE recoveries SET way = 'rebuilt' WHERE opened_at IS NOT NULL;

-- From here on the version of a shard never starts anew: an epoch goes on from the one before.
UPDATE journal_positions p
SET    drained_epoch   = s.epoch,
       drained_version = 0
FROM   shards s
WHERE  s.exam = p.exam
AND    s.shard = p.shard
AND    s.state = 'open'
AND    p.drained_epoch < s.epoch
AND    p.drained_epoch > 0;

-- The step in Redis under which Postgres wrote a booking last: its payment, or its change of venue.
-- What Redis has lost is every booking with a later step than its last one.
ALTER TABLE bookings
    ADD COLUMN step_epoch   bigint NOT NULL DEFAULT 0,
    ADD COLUMN step_version bigint NOT NULL DEFAULT 0;
CREATE INDEX bookings_by_step ON bookings (exam, step_epoch, step_version, reservation);
DROP INDEX bookings_by_shard;

-- Bookings of epochs before this one have no step: what is lost of such an epoch is rebuilt.
ALTER TABLE shards
    ADD COLUMN steps_since bigint NOT NULL DEFAULT 1;
UPDATE shards SET steps_since = epoch + 1;

-- Bookings as the records Redis keeps of them, in the order of `lua/include/record.lua`.
CREATE VIEW booking_records AS
SELECT b.reservation,
       b.exam,
       split_part(b.reservation, '.', 2)::integer AS shard,
       b.state,
       b.step_epoch,
       b.step_version,
       concat_ws('|', b.state, b.candidate, b.venue, i.subjects, i.sessions, b.amount, b.currency,
                 t.reserved_ms, t.deadline_ms, t.deadline_ms, t.deadline_ms, 1, 1, '', 0, b.request_hash, '', b.first_venue) AS record
FROM   bookings b
CROSS  JOIN LATERAL (
    SELECT string_agg(subject, ',' ORDER BY position, session) AS subjects,
           string_agg(session, ',' ORDER BY position, session) AS sessions
    FROM   booking_items
    WHERE  booking_items.reservation = b.reservation
) AS i
CROSS  JOIN LATERAL (
    SELECT (extract(epoch FROM b.reserved_at) * 1000)::bigint    AS reserved_ms,
           (extract(epoch FROM b.first_deadline) * 1000)::bigint AS deadline_ms
    OFFSET 0  -- computed once a row, not once a use
) AS t;

-- And the version at which Redis had the seats of a refund back.
ALTER TABLE refunds
    ADD COLUMN returned_epoch   bigint NOT NULL DEFAULT 0,
    ADD COLUMN returned_version bigint NOT NULL DEFAULT 0;
CREATE INDEX refunds_by_return ON refunds (exam, returned_epoch, returned_version);
DROP INDEX refunds_to_return;
CREATE INDEX refunds_to_return ON refunds (exam, refunded_at) WHERE seats_returned_at IS NULL;

-- Steps that are in no store: Postgres went back to an earlier state, or Redis lost the middle of
-- its journal. `records` were written again from Redis.
CREATE TABLE journal_gaps (
    exam         text        NOT NULL,
    shard        integer     NOT NULL,
    from_version bigint      NOT NULL,
    to_version   bigint      NOT NULL,
    epoch        bigint      NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT now(),
    records      bigint      NOT NULL,
    CONSTRAINT journal_gaps_pk PRIMARY KEY (exam, shard, epoch, from_version),
    CONSTRAINT journal_gaps_order CHECK (from_version <= to_version)
);

-- An exam that is over leaves Redis but for its counters.
ALTER TABLE shards
    ADD COLUMN retired_at        timestamptz,
    ADD COLUMN journal_pruned_at timestamptz;

-- What is found by its age each minute. Rows come in the order of their time, which is what a BRIN
-- index is for: a few pages, whatever the table holds.
CREATE INDEX settled_pins_by_age ON settled_pins USING brin (settled_at);
CREATE INDEX payment_events_by_exam
    ON payment_events (split_part(reservation, '.', 1), received_at);

-- What ends the rows of each table:
--   settled_pins, journal_quarantine   a day after nobody can name them; a person
--   journal, reservations              the retention of journals, counted from the end of the exam
--   recoveries, journal_gaps           with the journal they tell of
--   waiting_room_steps                 with the journal; the grace of claims is long over then
--   exams, shards, journal_positions, quotas, payment_events, bookings, booking_items, refunds,
--   refunds_due, waiting_rooms, audit_entries, api_keys
--                                      none: they are the record of what was sold, paid and refunded
