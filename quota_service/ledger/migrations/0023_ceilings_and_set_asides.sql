-- Ceilings of a venue in a session over all its subjects, and seats that are set aside for a group.

-- P1 of a ceiling is this table's CHECK, as that of a quota is the one of `quotas`. `confirmed` is the sum
-- of the quotas whose `ceiling` names the session: whoever counts in one of them counts here, in the same
-- transaction and after it. A quota under no ceiling has null, and costs nothing.
CREATE TABLE ceilings (
    exam      text    NOT NULL CONSTRAINT ceilings_exam_fk REFERENCES exams (id),
    venue     text    NOT NULL,
    session   text    NOT NULL,
    seats     integer NOT NULL CONSTRAINT ceilings_seats CHECK (seats >= 0),
    confirmed integer NOT NULL DEFAULT 0 CONSTRAINT ceilings_confirmed CHECK (confirmed >= 0),
    CONSTRAINT ceilings_pk PRIMARY KEY (exam, venue, session),
    CONSTRAINT ceilings_never_oversold CHECK (confirmed <= seats)
) WITH (fillfactor = 50);
ALTER TABLE quotas
    ADD COLUMN ceiling text;

-- The set-asides of an exam. One whose time has come is `over` here before its seats go on in Redis, and for
-- good. `seats` is an object of seats by venue/subject.
CREATE TABLE set_asides (
    exam   text        NOT NULL CONSTRAINT set_asides_exam_fk REFERENCES exams (id),
    id     text        NOT NULL,
    until  timestamptz NOT NULL,
    seats  jsonb       NOT NULL,
    state  text        NOT NULL DEFAULT 'on'
           CONSTRAINT set_asides_state CHECK (state IN ('on', 'over')),
    CONSTRAINT set_asides_pk PRIMARY KEY (exam, id)
);
CREATE INDEX set_asides_to_close ON set_asides (until) WHERE state = 'on';

-- Codes that reserve from a set-aside. `hash` is the SHA-256 of exam, a zero byte and the code: no code is
-- stored.
CREATE TABLE set_aside_codes (
    exam       text        NOT NULL,
    id         text        NOT NULL,
    set_aside  text        NOT NULL,
    hash       bytea       NOT NULL,
    uses_max   integer     NOT NULL CONSTRAINT set_aside_codes_uses CHECK (uses_max > 0),
    note       text        NOT NULL DEFAULT '',
    made_at    timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CONSTRAINT set_aside_codes_pk PRIMARY KEY (exam, id),
    CONSTRAINT set_aside_codes_set_aside_fk
    FOREIGN KEY (exam, set_aside) REFERENCES set_asides (exam, id),
    CONSTRAINT set_aside_codes_one_a_hash UNIQUE (exam, hash)
);

-- The set-aside and the code that a booking was made with, <set-aside>:<code>: the last field of its record.
ALTER TABLE bookings
    ADD COLUMN set_aside text NOT NULL DEFAULT '';
CREATE OR REPLACE VIEW booking_records AS
SELECT b.reservation,
       b.exam,
       split_part(b.reservation, '.', 2)::integer AS shard,
       b.state,
       b.step_epoch,
       b.step_version,
       concat_ws('|', b.state, b.candidate, b.venue, i.subjects, i.sessions, b.amount, b.currency,
                 t.reserved_ms, t.deadline_ms, t.deadline_ms, t.deadline_ms, 1, 1, '', 0,
                 b.request_hash, '', b.first_venue, b.venue_changes,
                 CASE WHEN b.set_aside <> '' THEN '|' || b.set_aside END) AS record
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

-- Settling a group of payment events, as migration 0014 describes it: it counts under ceilings too, and keeps
-- the set-aside of a booking (`set_asides`, '' for none). Refusals for a ceiling are those of a quota. Of
-- locks the ceilings come last.
-- contract: processes of the version before call it by the names of the arguments they know.
DROP FUNCTION settle_payments;
CREATE FUNCTION settle_payments(
    asked_at            timestamptz,
    events              text[],
    reservations        text[],
    statuses            text[],
    outcomes            text[],
    reasons             text[],
    amounts             bigint[],
    currencies          text[],
    paid                timestamptz[],
    provider_references text[],
    body_hashes         text[],
    requests            text[],
    exams               text[],
    shard_numbers       integer[],
    epochs              bigint[],
    versions            bigint[],
    pins                text[],
    candidates          text[],
    venues              text[],
    subject_lists       text[],
    session_lists       text[],
    reserved            timestamptz[],
    request_hashes      text[],
    first_deadlines     timestamptz[],
    first_venues        text[],
    venue_change_counts integer[],
    set_asides          text[] DEFAULT NULL
) RETURNS TABLE (code text, ended text, why text)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    codes          text[]    := array_fill(NULL::text, ARRAY[cardinality(events)]);
    refusals       text[]    := codes;  -- why a captured payment is due back
    repeats        text[]    := codes;  -- the event that told of the same payment first
    has_references boolean[] := array_fill(true, ARRAY[cardinality(events)]);
    books          boolean[] := ARRAY(SELECT v.exam IS NOT NULL
                                      FROM   unnest(exams) WITH ORDINALITY AS v (exam, place)
                                      ORDER  BY v.place);
    opened         text[];
    taken          text[];
    ours           text[];
    scarce         text[]    := '{}';  -- quotas and ceilings with fewer seats than the group wants,
    seats_left     integer[] := '{}';  -- and how many each has; -1 where there is no such quota
    under          text[]    := '{}';  -- quotas of the group that are under a ceiling,
    ceiling_of     text[]    := '{}';  -- and the session of each
    counted        text[]    := '{}';  -- ceilings of the quotas that were counted,
    counted_seats  integer[] := '{}';  -- and the seats of each
    entry          record;
    session_id     text;
    n              integer;
BEGIN
    -- The epochs of open shards stay until the end of the call: a fence waits.
    opened := ARRAY(
        SELECT concat_ws('/', s.exam, s.shard, s.epoch)
        FROM   (SELECT DISTINCT v.exam, v.shard
                FROM   unnest(exams, shard_numbers) AS v (exam, shard)
                WHERE  v.shard IS NOT NULL
                ORDER  BY v.exam, v.shard) AS w
        CROSS  JOIN LATERAL (SELECT sh.exam, sh.shard, sh.epoch
                             FROM   shards sh
                             WHERE  sh.exam = w.exam
                             AND    sh.shard = w.shard
                             AND    sh.state = 'open'
                             LIMIT  1
                             FOR    SHARE) AS s);

    -- An event that is recorded keeps the end it had.
    FOR entry IN
        SELECT array_position(events, p.event) AS place, p.outcome, p.reason, p.body_hash
        FROM   payment_events p
        WHERE  p.event = ANY (events)
    LOOP
        codes[entry.place] := CASE WHEN entry.body_hash = body_hashes[entry.place]
                                   THEN 'recorded' ELSE 'reused' END;
        outcomes[entry.place] := entry.outcome;
        reasons[entry.place] := entry.reason;
        books[entry.place] := false;
    END LOOP;

    -- One payment, one reference: an installation speaks with one provider, whose references name its
    -- payments. The event that tells of a reference first has it. A later one that names the same
    -- reservation and the same money tells of the same payment again, and ends as that did. One that
    -- names anything else is for a person: nobody here can know whether the provider used a reference
    -- twice or told of one payment wrongly. It is due back, under a reason of its own.
    taken := ARRAY(
        SELECT p.provider_reference
        FROM   payment_events p
        WHERE  p.provider_reference = ANY (provider_references)
        AND    p.status = 'captured'
        AND    p.has_reference);
    taken := ARRAY(
        SELECT v.reference
        FROM   unnest(codes, statuses, provider_references) AS v (code, status, reference)
        WHERE  v.code IS NULL
        AND    v.status = 'captured'
        AND    v.reference = ANY (taken));
    IF cardinality(taken) > 0 THEN
        -- Held, so that of several repeats at once each finds the one before it.
        PERFORM p.event
        FROM    payment_events p
        WHERE   p.provider_reference = ANY (taken)
        AND     p.status = 'captured'
        AND     p.has_reference
        ORDER   BY p.event
        FOR     NO KEY UPDATE;
        FOR entry IN
            SELECT DISTINCT ON (v.place)
                   v.place, p.event, p.outcome, p.reason,
                   (p.reservation, p.amount, p.currency) = (v.reservation, v.amount, v.currency)
                   AS is_same
            FROM   unnest(codes, statuses, provider_references, reservations, amounts, currencies)
                   WITH ORDINALITY
                   AS v (code, status, reference, reservation, amount, currency, place)
            CROSS  JOIN LATERAL (
                SELECT t.event, t.reservation, t.amount, t.currency, t.outcome, t.reason,
                       t.has_reference
                FROM   payment_events t
                WHERE  t.provider_reference = v.reference
                AND    t.status = 'captured'
                AND    t.has_reference
                UNION  ALL
                SELECT t.event, t.reservation, t.amount, t.currency, t.outcome, t.reason,
                       t.has_reference
                FROM   payment_events t
                WHERE  t.provider_reference = v.reference
                AND    t.status = 'captured'
                AND    NOT t.has_reference
                AND    t.repeats IS NULL) AS p
            WHERE  v.code IS NULL
            AND    v.status = 'captured'
            AND    v.reference = ANY (taken)
            ORDER  BY v.place, is_same DESC, p.has_reference DESC, p.event
        LOOP
            has_references[entry.place] := false;
            books[entry.place] := false;
            IF entry.is_same THEN
                repeats[entry.place] := entry.event;
                outcomes[entry.place] := entry.outcome;
                reasons[entry.place] := entry.reason;
            ELSE
                refusals[entry.place] := 'reference-reused';
            END IF;
        END LOOP;
    END IF;

    FOR entry IN
        SELECT v.place
        FROM   unnest(books, exams, shard_numbers, epochs) WITH ORDINALITY
               AS v (books, exam, shard, epoch, place)
        WHERE  v.books
        AND    v.shard IS NOT NULL
        AND    concat_ws('/', v.exam, v.shard, v.epoch) <> ALL (opened)
    LOOP
        codes[entry.place] := 'fenced';
        books[entry.place] := false;
    END LOOP;

    -- Whoever writes the row of a pin first has it. A call that was sent half a day ago comes from a
    -- process that stood still, and its pins may be forgotten: it has none.
    WITH settled AS (
        INSERT INTO settled_pins (reservation, pin)
        SELECT v.reservation, v.pin
        FROM   unnest(books, reservations, pins) AS v (books, reservation, pin)
        WHERE  v.books
        AND    v.pin IS NOT NULL
        AND    asked_at > clock_timestamp() - interval '12 hours'
        ORDER  BY v.reservation
        ON CONFLICT ON CONSTRAINT settled_pins_pk DO NOTHING
        RETURNING settled_pins.reservation
    )
    SELECT coalesce(array_agg(s.reservation), '{}') INTO ours FROM settled s;
    IF cardinality(ours) < cardinality(array_positions(books, true)) THEN
        FOR entry IN
            SELECT v.place, b.is_booked, p.outcome, p.reason, p.body_hash
            FROM   unnest(books, reservations, events) WITH ORDINALITY
                   AS v (books, reservation, event, place)
            LEFT   JOIN LATERAL (SELECT true AS is_booked
                                 FROM   bookings bk
                                 WHERE  bk.reservation = v.reservation
                                 LIMIT  1) AS b ON true
            LEFT   JOIN LATERAL (SELECT e.outcome, e.reason, e.body_hash
                                 FROM   payment_events e
                                 WHERE  e.event = v.event
                                 LIMIT  1) AS p ON true
            WHERE  v.books
            AND    v.reservation <> ALL (ours)
        LOOP
            books[entry.place] := false;
            IF entry.outcome IS NOT NULL THEN  -- while this call waited for the pin
                codes[entry.place] := CASE WHEN entry.body_hash = body_hashes[entry.place]
                                           THEN 'recorded' ELSE 'reused' END;
                outcomes[entry.place] := entry.outcome;
                reasons[entry.place] := entry.reason;
            ELSIF entry.is_booked THEN
                refusals[entry.place] := 'already-paid';
            ELSE
                codes[entry.place] := 'pin-gone';
            END IF;
        END LOOP;
    END IF;

    -- What constraints would refuse: bookings_pk, then booking_items_one_subject_a_session.
    FOR entry IN
        SELECT v.place, b.is_booked
        FROM   unnest(books, reservations, exams, candidates, session_lists) WITH ORDINALITY
               AS v (books, reservation, exam, candidate, sessions, place)
        LEFT   JOIN LATERAL (SELECT true AS is_booked
                             FROM   bookings bk
                             WHERE  bk.reservation = v.reservation
                             LIMIT  1) AS b ON true
        LEFT   JOIN LATERAL (SELECT true AS is_taken
                             FROM   booking_items i
                             WHERE  i.exam = v.exam
                             AND    i.candidate = v.candidate
                             AND    i.session = ANY (string_to_array(v.sessions, ','))
                             AND    i.active
                             LIMIT  1) AS s ON true
        WHERE  v.books
        AND    (b.is_booked OR s.is_taken)
    LOOP
        refusals[entry.place] := CASE WHEN entry.is_booked
                                      THEN 'already-paid' ELSE 'session-conflict' END;
        books[entry.place] := false;
    END LOOP;

    -- And quotas_never_oversold and ceilings_never_oversold. Of a quota, or under a ceiling, with fewer
    -- seats than the group wants, the first have them.
    FOR entry IN
        SELECT concat_ws('/', w.exam, w.venue, w.subject) AS quota, coalesce(q.room, -1) AS room,
               coalesce(q.room, -1) < w.wanted AS is_scarce, q.ceiling
        FROM   (SELECT v.exam, v.venue, s.subject, count(*) AS wanted
                FROM   unnest(books, exams, venues, subject_lists)
                       AS v (books, exam, venue, subjects)
                CROSS  JOIN LATERAL unnest(string_to_array(v.subjects, ',')) AS s (subject)
                WHERE  v.books
                GROUP  BY v.exam, v.venue, s.subject) AS w
        LEFT   JOIN LATERAL (SELECT t.capacity - t.confirmed AS room, t.ceiling
                             FROM   quotas t
                             WHERE  t.exam = w.exam
                             AND    t.venue = w.venue
                             AND    t.subject = w.subject
                             LIMIT  1) AS q ON true
        WHERE  q.room IS NULL
        OR     q.room < w.wanted
        OR     q.ceiling IS NOT NULL
    LOOP
        IF entry.is_scarce THEN
            scarce := scarce || entry.quota;
            seats_left := seats_left || entry.room;
        END IF;
        IF entry.ceiling IS NOT NULL THEN
            under := under || entry.quota;
            ceiling_of := ceiling_of || entry.ceiling;
        END IF;
    END LOOP;
    IF cardinality(under) > 0 THEN
        FOR entry IN
            SELECT concat_ws('/', w.exam, w.venue, '', w.session) AS ceiling, c.room
            FROM   (SELECT v.exam, v.venue, u.session, count(*) AS wanted
                    FROM   unnest(books, exams, venues, subject_lists)
                           AS v (books, exam, venue, subjects)
                    CROSS  JOIN LATERAL unnest(string_to_array(v.subjects, ',')) AS s (subject)
                    JOIN   unnest(under, ceiling_of) AS u (quota, session)
                           ON u.quota = concat_ws('/', v.exam, v.venue, s.subject)
                    WHERE  v.books
                    GROUP  BY v.exam, v.venue, u.session) AS w
            CROSS  JOIN LATERAL (SELECT t.seats - t.confirmed AS room
                                 FROM   ceilings t
                                 WHERE  t.exam = w.exam
                                 AND    t.venue = w.venue
                                 AND    t.session = w.session
                                 LIMIT  1) AS c
            WHERE  c.room < w.wanted
        LOOP
            scarce := scarce || entry.ceiling;
            seats_left := seats_left || entry.room;
        END LOOP;
    END IF;
    IF cardinality(scarce) > 0 THEN
        FOR entry IN
            SELECT v.place, array_agg(array_position(scarce, w.name)) AS wanted
            FROM   unnest(books, exams, venues, subject_lists) WITH ORDINALITY
                   AS v (books, exam, venue, subjects, place)
            CROSS  JOIN LATERAL unnest(string_to_array(v.subjects, ',')) AS s (subject)
            CROSS  JOIN LATERAL (
                SELECT concat_ws('/', v.exam, v.venue, s.subject) AS name
                UNION  ALL
                SELECT concat_ws('/', v.exam, v.venue, '', u.session)
                FROM   unnest(under, ceiling_of) AS u (quota, session)
                WHERE  u.quota = concat_ws('/', v.exam, v.venue, s.subject)) AS w
            WHERE  v.books
            AND    w.name = ANY (scarce)
            GROUP  BY v.place
            ORDER  BY v.place
        LOOP
            IF EXISTS (SELECT FROM unnest(entry.wanted) AS w (n) WHERE seats_left[w.n] = 0) THEN
                refusals[entry.place] := 'sold-out';
                books[entry.place] := false;
            ELSIF EXISTS (SELECT FROM unnest(entry.wanted) AS w (n) WHERE seats_left[w.n] < 0) THEN
                codes[entry.place] := 'no-quota';
                books[entry.place] := false;
            ELSE
                FOREACH n IN ARRAY entry.wanted LOOP
                    seats_left[n] := seats_left[n] - 1;
                END LOOP;
            END IF;
        END LOOP;
    END IF;

    -- Of 0 nothing goes back.
    FOR entry IN
        SELECT v.place, v.refusal, v.amount > 0 AS is_due
        FROM   unnest(refusals, amounts) WITH ORDINALITY AS v (refusal, amount, place)
        WHERE  v.refusal IS NOT NULL
    LOOP
        outcomes[entry.place] := CASE WHEN entry.is_due THEN 'refund_due' ELSE 'ignored' END;
        reasons[entry.place] := CASE WHEN entry.is_due THEN entry.refusal END;
    END LOOP;

    INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency, paid_at,
                                provider_reference, body_hash, has_reference, repeats, request_id)
    SELECT v.event, v.reservation, v.status, v.outcome, v.reason, v.amount, v.currency, v.paid_at,
           v.reference, v.body_hash, v.has_reference, v.repeats, v.request
    FROM   unnest(codes, events, reservations, statuses, outcomes, reasons, amounts, currencies, paid,
                  provider_references, body_hashes, has_references, repeats, requests)
           AS v (code, event, reservation, status, outcome, reason, amount, currency, paid_at,
                 reference, body_hash, has_reference, repeats, request)
    WHERE  v.code IS NULL
    ORDER  BY v.event;

    IF true = ANY (books) THEN
        INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event,
                              reserved_at, request_hash, first_deadline, first_venue, step_epoch,
                              step_version, venue_changes, set_aside)
        SELECT v.reservation, v.exam, v.candidate, v.venue, v.amount, v.currency, v.event,
               v.reserved_at, v.request_hash, v.first_deadline, v.first_venue, v.epoch, v.version,
               v.venue_changes, coalesce(v.set_aside, '')
        FROM   unnest(books, reservations, exams, candidates, venues, amounts, currencies, events,
                      reserved, request_hashes, first_deadlines, first_venues, epochs, versions,
                      venue_change_counts, coalesce(set_asides, '{}'))
               AS v (books, reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                     request_hash, first_deadline, first_venue, epoch, version, venue_changes, set_aside)
        WHERE  v.books
        ORDER  BY v.reservation;

        INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
        SELECT v.reservation, v.exam, v.candidate, s.session, v.venue, s.subject, s.place - 1
        FROM   unnest(books, reservations, exams, candidates, venues, subject_lists, session_lists)
               AS v (books, reservation, exam, candidate, venue, subjects, sessions)
        CROSS  JOIN LATERAL unnest(string_to_array(v.subjects, ','), string_to_array(v.sessions, ','))
               WITH ORDINALITY AS s (subject, session, place)
        WHERE  v.books
        ORDER  BY v.exam, v.candidate, s.session;
    END IF;

    -- The exam is null where the payment named a reservation of no exam we know.
    IF 'refund_due' = ANY (outcomes) THEN
        INSERT INTO refunds_due (event, exam, reservation, reason, amount, currency)
        SELECT v.event, x.id, v.reservation, v.reason, v.amount, v.currency
        FROM   unnest(codes, outcomes, repeats, events, reservations, reasons, amounts, currencies)
               AS v (code, outcome, repeats, event, reservation, reason, amount, currency)
        LEFT   JOIN LATERAL (SELECT e.id
                             FROM   exams e
                             WHERE  e.id = split_part(v.reservation, '.', 1)
                             LIMIT  1) AS x ON true
        WHERE  v.code IS NULL
        AND    v.outcome = 'refund_due'
        AND    v.repeats IS NULL
        AND    v.amount > 0
        ORDER  BY v.event;
    END IF;

    FOR entry IN
        SELECT v.exam, v.venue, s.subject, count(*) AS seats
        FROM   unnest(books, exams, venues, subject_lists) AS v (books, exam, venue, subjects)
        CROSS  JOIN LATERAL unnest(string_to_array(v.subjects, ',')) AS s (subject)
        WHERE  v.books
        GROUP  BY v.exam, v.venue, s.subject
        ORDER  BY v.exam, v.venue, s.subject
    LOOP
        UPDATE quotas q
        SET    confirmed = q.confirmed + entry.seats
        WHERE  q.exam = entry.exam
        AND    q.venue = entry.venue
        AND    q.subject = entry.subject
        RETURNING q.ceiling INTO session_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no quota % % %', entry.exam, entry.venue, entry.subject;
        END IF;
        IF session_id IS NOT NULL THEN  -- also where it is new since the look above
            counted := counted || concat_ws('/', entry.exam, entry.venue, session_id);
            counted_seats := counted_seats || entry.seats::integer;
        END IF;
    END LOOP;

    -- Ceilings after all quotas: two groups never wait for each other in a circle.
    IF cardinality(counted) > 0 THEN
        FOR entry IN
            SELECT split_part(v.name, '/', 1) AS exam, split_part(v.name, '/', 2) AS venue,
                   split_part(v.name, '/', 3) AS session, sum(v.seats) AS seats
            FROM   unnest(counted, counted_seats) AS v (name, seats)
            GROUP  BY 1, 2, 3
            ORDER  BY 1, 2, 3
        LOOP
            UPDATE ceilings c
            SET    confirmed = c.confirmed + entry.seats
            WHERE  c.exam = entry.exam
            AND    c.venue = entry.venue
            AND    c.session = entry.session;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'no ceiling % % %', entry.exam, entry.venue, entry.session;
            END IF;
        END LOOP;
    END IF;

    RETURN QUERY
        SELECT CASE WHEN v.code IS NOT NULL THEN v.code
                    WHEN v.repeats IS NOT NULL THEN 'repeated'
                    ELSE 'settled' END,
               v.outcome, v.reason
        FROM   unnest(codes, repeats, outcomes, reasons) WITH ORDINALITY
               AS v (code, repeats, outcome, reason, place)
        ORDER  BY v.place;
END
$$;
