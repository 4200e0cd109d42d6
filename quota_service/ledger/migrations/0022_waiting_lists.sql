-- The waiting lists of exams: who waits for seats that are gone, in which order, and what became of it.

-- One row for each exam that has or had a list, or whose returned seats are dealt. Whoever writes entries of
-- an exam locks its row first (FOR NO KEY UPDATE): so numbers are committed in order and have no gaps, and
-- joins, leaves and dealing never wait for each other in a circle. `is_paused` stops the dealing,
-- `is_suspended` joining; `length_max` by quota prevails over the one in the definition. The dealing of an
-- exam is led by one worker at a time, by a lease as admission has: each of its writes is made WHERE
-- `leader_epoch` is current. `dealt_through` is the last instant that was dealt, `is_due` asks for a dealing
-- at once; `draw_window` is the window that entries join now.
CREATE TABLE waiting_lists (
    exam          text        NOT NULL CONSTRAINT waiting_lists_pk PRIMARY KEY
                              CONSTRAINT waiting_lists_exam_fk REFERENCES exams (id),
    last_number   bigint      NOT NULL DEFAULT 0
                              CONSTRAINT waiting_lists_last_number CHECK (last_number >= 0),
    is_paused     boolean     NOT NULL DEFAULT false,
    is_suspended  boolean     NOT NULL DEFAULT false,
    length_max    integer     CONSTRAINT waiting_lists_length_max CHECK (length_max > 0),
    draw_window   bigint      NOT NULL DEFAULT 1
                              CONSTRAINT waiting_lists_draw_window CHECK (draw_window > 0),
    leader        text,
    leader_epoch  bigint      NOT NULL DEFAULT 0
                              CONSTRAINT waiting_lists_leader_epoch CHECK (leader_epoch >= 0),
    lease_until   timestamptz,
    dealt_through timestamptz,
    is_due        boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT waiting_lists_lease CHECK ((leader IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 50);

-- One row for each entry; it stays. `until` null: as long as registration is open. `reservation`,
-- `offer_deadline` and `offered_at` are those of the last of `offers` offers. `rank` has 64 hex digits once
-- the window is drawn; the collation compares them as the numbers they are.
CREATE TABLE waiting_list_entries (
    exam           text             NOT NULL CONSTRAINT waiting_list_entries_list_fk
                                    REFERENCES waiting_lists (exam),
    serial         text             NOT NULL,
    candidate      text             NOT NULL,
    number         bigint           NOT NULL
                                    CONSTRAINT waiting_list_entries_number CHECK (number > 0),
    subjects       text[]           NOT NULL,
    sessions       text[]           NOT NULL,
    venues         text[]           NOT NULL,
    until          timestamptz,
    quiet_from     text             CONSTRAINT waiting_list_entries_quiet_from
                                    CHECK (quiet_from ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
    quiet_to       text             CONSTRAINT waiting_list_entries_quiet_to
                                    CHECK (quiet_to ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'),
    draw_window    bigint           NOT NULL,
    rank           text COLLATE "C" CONSTRAINT waiting_list_entries_rank
                                    CHECK (rank ~ '^[0-9a-f]{64}$'),
    state          text             NOT NULL DEFAULT 'waiting',
    offers         integer          NOT NULL DEFAULT 0
                                    CONSTRAINT waiting_list_entries_offers CHECK (offers >= 0),
    reservation    text,
    offer_deadline timestamptz,
    offered_at     timestamptz,
    joined_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    ended_at       timestamptz,
    request_hash   text             NOT NULL,
    key_id         text             NOT NULL,
    request_id     text             NOT NULL,
    CONSTRAINT waiting_list_entries_pk PRIMARY KEY (exam, serial),
    CONSTRAINT waiting_list_entries_one_number UNIQUE (exam, number),
    CONSTRAINT waiting_list_entries_state
        CHECK (state IN ('waiting', 'offered', 'served', 'missed', 'declined', 'left', 'over', 'conflict')),
    CONSTRAINT waiting_list_entries_wanted
        CHECK (cardinality(subjects) > 0 AND cardinality(sessions) = cardinality(subjects)
               AND cardinality(venues) > 0),
    CONSTRAINT waiting_list_entries_quiet_hours CHECK ((quiet_from IS NULL) = (quiet_to IS NULL)),
    CONSTRAINT waiting_list_entries_offer
        CHECK ((offers > 0) = (reservation IS NOT NULL)
               AND (reservation IS NULL) = (offer_deadline IS NULL)
               AND (reservation IS NULL) = (offered_at IS NULL)),
    CONSTRAINT waiting_list_entries_offered
        CHECK (reservation IS NOT NULL OR state NOT IN ('offered', 'served', 'missed', 'declined')),
    CONSTRAINT waiting_list_entries_end CHECK ((ended_at IS NULL) = (state IN ('waiting', 'offered')))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX waiting_list_entries_one_live ON waiting_list_entries (exam, candidate)
    WHERE state IN ('waiting', 'offered');
CREATE UNIQUE INDEX waiting_list_entries_by_reservation ON waiting_list_entries (reservation)
    WHERE reservation IS NOT NULL;
CREATE INDEX waiting_list_entries_in_order ON waiting_list_entries (exam, draw_window, rank, number)
    WHERE state = 'waiting';
CREATE INDEX waiting_list_entries_offers_live ON waiting_list_entries (exam, offer_deadline)
    WHERE state = 'offered';
CREATE INDEX waiting_list_entries_by_candidate ON waiting_list_entries (candidate, exam, number);
CREATE INDEX waiting_list_entries_by_offer ON waiting_list_entries (exam, offered_at)
    WHERE offered_at IS NOT NULL;
