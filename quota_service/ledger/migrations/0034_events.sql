-- Events: what became true of reservations, payments, waiting lists and exams, for those who want to be told.

-- Triggers write each event in the transaction that makes it true, whatever code does that. `sequence` is given
-- later, by one process at a time (`order_events`): contiguous, and never before what was committed earlier was
-- looked at, so that a reader who has seen a number misses none below it. `epoch` and `version` name the step of
-- the shard that the event comes after: an event of the ledger waits until the journal was drained up to there,
-- because what happened to its reservation before is told first. A null `version` is found by looking into
-- Redis. An event that follows nothing in the journal has 0 and 0.
CREATE TABLE events (
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    kind        text        NOT NULL,
    exam        text,
    reservation text,
    candidate   text,
    at          timestamptz NOT NULL,
    data        jsonb       NOT NULL,
    epoch       bigint      NOT NULL DEFAULT 0,
    version     bigint      DEFAULT 0,
    sequence    bigint,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX events_by_sequence ON events (sequence) WHERE sequence IS NOT NULL;
CREATE INDEX events_to_order ON events (id) WHERE sequence IS NULL;
CREATE INDEX events_to_place ON events (id) WHERE version IS NULL;

-- The number in a field of a record, or null: one that is torn must not keep its journal from being drained.
CREATE FUNCTION event_number(field text) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN length(field) BETWEEN 1 AND 15 AND ltrim(field, '0123456789') = '' THEN field::bigint END;

-- What an event tells of the record of a hold, whose fields are in the order of `lua/include/record.lua`. Times are
-- in ms since the epoch here; they are told as the API writes them.
CREATE FUNCTION event_of_hold(kind text, fields text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('venue', fields[3], 'subjects', to_jsonb(string_to_array(fields[4], ',')))
        || CASE kind
               WHEN 'reservation.held' THEN jsonb_build_object(
                   'amount', event_number(fields[6]), 'currency', fields[7],
                   'deadline', event_number(fields[10]))
               WHEN 'reservation.venue_changed' THEN jsonb_build_object('state', 'held')
               ELSE '{}'::jsonb
           END;

-- Steps of holds. A booking is told of by the ledger's own rows, and so is its change of venue.
CREATE FUNCTION events_of_journal() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
    SELECT s.kind, j.exam, j.exam || '.0.' || j.subject, f.fields[2], j.at, event_of_hold(s.kind, f.fields),
           j.epoch, j.version
    FROM   entries j
    JOIN   (VALUES ('reserve', 'reservation.held'), ('offer', 'reservation.held'),
                   ('release', 'reservation.released'), ('expire', 'reservation.expired'),
                   ('change', 'reservation.venue_changed')) AS s (verb, kind) USING (verb)
    CROSS  JOIN LATERAL (SELECT string_to_array(j.body, '|') AS fields OFFSET 0) AS f
    WHERE  j.verb <> 'change'
    OR     f.fields[1] = 'held'
    ORDER  BY j.exam, j.epoch, j.version;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_of_journal AFTER INSERT ON journal
    REFERENCING NEW TABLE AS entries
    FOR EACH STATEMENT EXECUTE FUNCTION events_of_journal();

-- Bookings. Their subjects are inserted after them, so these tell that a booking is whole.
CREATE FUNCTION events_of_booking_items() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
    SELECT 'reservation.confirmed', b.exam, b.reservation, b.candidate, b.confirmed_at,
           jsonb_build_object('venue', b.venue, 'subjects', i.subjects, 'amount', b.amount, 'currency', b.currency),
           b.step_epoch, b.step_version
    FROM   (SELECT reservation, jsonb_agg(subject ORDER BY position, session) AS subjects
            FROM   items
            GROUP  BY reservation) AS i
    JOIN   bookings b USING (reservation)
    ORDER  BY b.reservation;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_of_booking_items AFTER INSERT ON booking_items
    REFERENCING NEW TABLE AS items
    FOR EACH STATEMENT EXECUTE FUNCTION events_of_booking_items();

CREATE FUNCTION event_of_booking() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
    SELECT CASE NEW.state WHEN 'refunded' THEN 'reservation.refunded' ELSE 'reservation.venue_changed' END,
           NEW.exam, NEW.reservation, NEW.candidate, now(),
           jsonb_build_object('venue', NEW.venue, 'subjects', jsonb_agg(i.subject ORDER BY i.position, i.session))
               || CASE NEW.state
                      WHEN 'refunded' THEN jsonb_build_object('amount', NEW.amount, 'currency', NEW.currency)
                      ELSE jsonb_build_object('state', NEW.state)
                  END,
           NEW.step_epoch, NEW.step_version
    FROM   booking_items i
    WHERE  i.reservation = NEW.reservation;
    RETURN NULL;
END
$$;
CREATE TRIGGER event_of_booking AFTER UPDATE ON bookings
    FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.venue <> NEW.venue)
    EXECUTE FUNCTION event_of_booking();

-- Money. Of a payment without a booking it is not known here which step it came after: Redis knows.
CREATE FUNCTION events_of_refunds_due() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
    SELECT 'payment.refund_due', d.exam, d.reservation, b.candidate, d.due_at,
           jsonb_build_object('refund', d.id::text, 'event', d.event, 'reason', d.reason, 'amount', d.amount,
                              'currency', d.currency),
           coalesce(b.step_epoch, s.epoch, 0),
           CASE WHEN d.exam IS NULL THEN 0 ELSE b.step_version END
    FROM   dues d
    LEFT   JOIN bookings b USING (reservation)
    LEFT   JOIN shards s ON s.exam = d.exam AND s.shard = 0
    ORDER  BY d.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_of_refunds_due AFTER INSERT ON refunds_due
    REFERENCING NEW TABLE AS dues
    FOR EACH STATEMENT EXECUTE FUNCTION events_of_refunds_due();

CREATE FUNCTION event_of_unreadable_payment() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, at, data)
    VALUES ('payment.unreadable', NEW.received_at,
            jsonb_build_object('payment', NEW.id::text, 'event', NEW.event, 'problem', NEW.problem));
    RETURN NULL;
END
$$;
CREATE TRIGGER event_of_unreadable_payment AFTER INSERT ON unreadable_payments
    FOR EACH ROW EXECUTE FUNCTION event_of_unreadable_payment();

-- Offers. The hold of an offer was made before: `order_events` waits until the journal tells of it. An offer that
-- is taken back, because it is in no store, is not told of. One ends after its hold has ended: where the journal does
-- not tell of that yet, as where the candidate declines what has just run out, Redis knows the step.
CREATE FUNCTION event_of_entry() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.state = 'waiting' THEN
        DELETE FROM events
        WHERE  sequence IS NULL
        AND    kind = 'waiting_list.offered'
        AND    reservation = NEW.reservation;
        RETURN NULL;
    END IF;
    INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
    SELECT o.kind, NEW.exam, NEW.reservation, NEW.candidate, coalesce(NEW.ended_at, NEW.offered_at),
           jsonb_build_object('entry', NEW.exam || '.w.' || NEW.serial, 'subjects', to_jsonb(NEW.subjects))
               || CASE NEW.state
                      WHEN 'offered' THEN jsonb_build_object('deadline', ms(NEW.offer_deadline))
                      ELSE '{}'::jsonb
                  END,
           coalesce(CASE WHEN NEW.state = 'missed' AND r.state = 'expired' THEN r.epoch ELSE s.epoch END, 0),
           CASE
               WHEN NEW.state = 'offered' OR s.exam IS NULL THEN 0
               WHEN r.state = 'expired' THEN r.version
           END
    FROM   (SELECT CASE NEW.state WHEN 'offered' THEN 'waiting_list.offered'
                                  ELSE 'waiting_list.offer_expired' END) AS o (kind)
    LEFT   JOIN shards s ON s.exam = NEW.exam AND s.shard = 0
    LEFT   JOIN reservations r ON r.id = NEW.reservation;
    RETURN NULL;
END
$$;
CREATE TRIGGER event_of_entry AFTER UPDATE ON waiting_list_entries
    FOR EACH ROW WHEN (OLD.state <> NEW.state AND NEW.state IN ('offered', 'missed', 'waiting'))
    EXECUTE FUNCTION event_of_entry();

-- The exam. Seats of a release are there once Redis has them.
CREATE FUNCTION events_of_pauses() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, at, data)
    SELECT c.kind, NEW.id, clock_timestamp(),
           jsonb_build_object('venue', nullif(c.pause ->> 'venue', ''),
                              'subject', nullif(c.pause ->> 'subject', ''))
               || CASE c.kind
                      WHEN 'exam.paused' THEN jsonb_build_object(
                          'reason', c.pause -> 'reason', 'stops_changes', c.pause -> 'stops_changes')
                      ELSE '{}'::jsonb
                  END
    FROM   (SELECT 'exam.resumed' AS kind, p.pause
            FROM   jsonb_array_elements(OLD.pauses) AS p (pause)
            WHERE  NOT NEW.pauses @> jsonb_build_array(p.pause)
            UNION  ALL
            SELECT 'exam.paused', p.pause
            FROM   jsonb_array_elements(NEW.pauses) AS p (pause)
            WHERE  NOT OLD.pauses @> jsonb_build_array(p.pause)) AS c;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_of_pauses AFTER UPDATE ON exams
    FOR EACH ROW WHEN (OLD.pauses <> NEW.pauses)
    EXECUTE FUNCTION events_of_pauses();

CREATE FUNCTION event_of_seat_release() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO events (kind, exam, at, data)
    VALUES ('exam.seats_released', NEW.exam, NEW.applied_at,
            jsonb_build_object('release', NEW.id, 'seats', NEW.seats));
    RETURN NULL;
END
$$;
CREATE TRIGGER event_of_seat_release AFTER UPDATE ON seat_releases
    FOR EACH ROW WHEN (OLD.applied_at IS NULL AND NEW.applied_at IS NOT NULL)
    EXECUTE FUNCTION event_of_seat_release();
