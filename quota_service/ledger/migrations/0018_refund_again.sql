-- What ops refund beyond the rules, and refunds due whose money did not arrive.

-- A candidate has one refund of an exam; those that ops make are beside it.
ALTER TABLE refunds
    ADD COLUMN by_ops boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT refunds_one_a_person,
    DROP CONSTRAINT refunds_one_a_booking,
    ADD CONSTRAINT refunds_pk PRIMARY KEY (reservation);
CREATE UNIQUE INDEX refunds_one_a_person ON refunds (exam, candidate) WHERE NOT by_ops;
CREATE INDEX refunds_of_candidate ON refunds (exam, candidate);

-- Settlements of a refund due whose money did not arrive: it was opened again, for each of them once. They stay for good.
CREATE TABLE refund_settlements (
    refund      bigint      NOT NULL
                CONSTRAINT refund_settlements_refund_fk REFERENCES refunds_due (id),
    settled_at  timestamptz NOT NULL,
    settled_by  text        NOT NULL,
    reopened_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refund_settlements_pk PRIMARY KEY (refund, settled_at)
);

-- Refunds due as they are shown, with what became of the money at the provider.
CREATE VIEW refund_due_records AS
SELECT d.id,
       d.event,
       d.exam,
       d.reservation,
       d.reason,
       d.amount,
       d.currency,
       d.due_at,
       d.settled_at,
       p.provider_reference,
       later.refunded_at,
       later.disputed_at,
       ARRAY(
           SELECT s.settled_at
           FROM   refund_settlements s
           WHERE  s.refund = d.id
           ORDER  BY s.settled_at
       ) AS settled_before
FROM   refunds_due d
JOIN   payment_events p USING (event)
CROSS  JOIN LATERAL (
    SELECT max(e.paid_at) FILTER (WHERE e.status = 'refunded') AS refunded_at,
           max(e.paid_at) FILTER (WHERE e.status = 'disputed') AS disputed_at
    FROM   payment_events e
    WHERE  e.reservation = p.reservation
    AND    e.provider_reference = p.provider_reference
) AS later;
CREATE INDEX refunds_due_of_reservation ON refunds_due (reservation);

-- What ops did with a payment that names no exam has none.
ALTER TABLE ops_actions
    ALTER COLUMN exam DROP NOT NULL;
