-- Payments that are told twice, events that cannot be understood, and what the provider tells later.

-- One payment, one reference: the event that tells of a reference first has it. An event that tells
-- of the same payment again `repeats` it and shares its end; one that names the same reference with
-- another reservation or other money is due back, for a person to look at.
ALTER TABLE payment_events
    ADD COLUMN has_reference boolean NOT NULL DEFAULT true,
    ADD COLUMN repeats text CONSTRAINT payment_events_repeats_fk REFERENCES payment_events (event),
    DROP CONSTRAINT payment_events_status,
    DROP CONSTRAINT payment_events_outcome,
    DROP CONSTRAINT payment_events_captured,
    ADD CONSTRAINT payment_events_status
        CHECK (status IN ('captured', 'failed', 'refunded', 'disputed')),
    ADD CONSTRAINT payment_events_ends CHECK (
        CASE status
            WHEN 'captured' THEN outcome IN ('confirmed', 'refund_due')
                                 OR (outcome = 'ignored' AND amount = 0)
            WHEN 'failed'   THEN outcome = 'ignored'
            ELSE outcome = 'recorded'
        END),
    ADD CONSTRAINT payment_events_repeats CHECK (repeats IS NULL OR NOT has_reference);

-- Of what an earlier version recorded, the booking's event has the reference, else the first.
UPDATE payment_events p
SET    has_reference = false
FROM   (
    SELECT event,
           row_number() OVER (PARTITION BY provider_reference
                              ORDER BY outcome = 'confirmed' DESC, received_at, event) AS place
    FROM   payment_events
    WHERE  status = 'captured'
) AS told
WHERE  told.event = p.event
AND    told.place > 1;
CREATE UNIQUE INDEX payment_events_one_a_reference
    ON payment_events (provider_reference) WHERE status = 'captured' AND has_reference;
CREATE INDEX payment_events_without_reference
    ON payment_events (provider_reference)
    WHERE status = 'captured' AND NOT has_reference AND repeats IS NULL;

-- What came with a right signature and could not be understood: it may be money (P6). It stays for a
-- person until it is settled, or until the provider has told the event again in words that can be.
CREATE TABLE unreadable_payments (
    id               bigint      GENERATED ALWAYS AS IDENTITY
                                 CONSTRAINT unreadable_payments_pk PRIMARY KEY,
    digest           text        NOT NULL CONSTRAINT unreadable_payments_once UNIQUE,
    event            text        NOT NULL,
    body             bytea       NOT NULL,
    problem          text        NOT NULL,
    deliveries       integer     NOT NULL DEFAULT 1,
    received_at      timestamptz NOT NULL DEFAULT now(),
    last_received_at timestamptz NOT NULL DEFAULT now(),
    settled_at       timestamptz,
    settled_by       text,
    CONSTRAINT unreadable_payments_settled CHECK ((settled_at IS NULL) = (settled_by IS NULL))
);
CREATE INDEX unreadable_payments_open ON unreadable_payments (id) WHERE settled_at IS NULL;
DROP INDEX refunds_due_open;
CREATE INDEX refunds_due_open ON refunds_due (id) WHERE settled_at IS NULL;
CREATE INDEX refunds_due_open_of_exam ON refunds_due (exam, id) WHERE settled_at IS NULL;
