-- Waiting rooms: what may not be forgotten when Redis is.

-- One room for each exam that ever had one. Its secrets are made with it and never change. Ranks and
-- thresholds are 64 hex digits; the collation compares them as the numbers they are. Admission only
-- ever goes on: whoever writes a position writes it WHERE it is not behind the one that stands.
CREATE TABLE waiting_rooms (
    exam             text             NOT NULL CONSTRAINT waiting_rooms_pk PRIMARY KEY
                                      CONSTRAINT waiting_rooms_exam_fk REFERENCES exams (id),
    seed             bytea            NOT NULL
                     CONSTRAINT waiting_rooms_seed CHECK (length(seed) = 32),
    ticket_key       bytea            NOT NULL
                     CONSTRAINT waiting_rooms_ticket_key CHECK (length(ticket_key) = 32),
    pass_key         bytea            NOT NULL
                     CONSTRAINT waiting_rooms_pass_key CHECK (length(pass_key) = 32),
    threshold        text COLLATE "C" NOT NULL DEFAULT repeat('0', 64)
                     CONSTRAINT waiting_rooms_threshold CHECK (threshold ~ '^[0-9a-f]{64}$'),
    late_threshold   text COLLATE "C" NOT NULL DEFAULT repeat('0', 64)
                     CONSTRAINT waiting_rooms_late_threshold
                     CHECK (late_threshold ~ '^[0-9a-f]{64}$'),
    serving          bigint           NOT NULL DEFAULT 0,
    late_through     bigint           NOT NULL DEFAULT 0
                     CONSTRAINT waiting_rooms_late_through CHECK (late_through >= 0),
    numbers_reserved bigint           NOT NULL DEFAULT 0,
    drawn            bigint           NOT NULL DEFAULT 0
                     CONSTRAINT waiting_rooms_drawn CHECK (drawn >= 0),
    rate             double precision NOT NULL
                     CONSTRAINT waiting_rooms_rate CHECK (rate > 0),
    fixed_rate       double precision
                     CONSTRAINT waiting_rooms_fixed_rate CHECK (fixed_rate > 0),
    paused           boolean          NOT NULL DEFAULT false,
    leader           text,
    leader_epoch     bigint           NOT NULL DEFAULT 0
                     CONSTRAINT waiting_rooms_leader_epoch CHECK (leader_epoch >= 0),
    lease_until      timestamptz,
    stepped_at       timestamptz,
    opened_at        timestamptz,
    created_at       timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT waiting_rooms_late_ranks CHECK (late_threshold <= threshold),
    CONSTRAINT waiting_rooms_late_numbers CHECK (late_through <= serving),
    CONSTRAINT waiting_rooms_numbers CHECK (serving <= numbers_reserved),
    CONSTRAINT waiting_rooms_draw_first CHECK (serving = 0 OR threshold = repeat('f', 64)),
    CONSTRAINT waiting_rooms_lease CHECK ((leader IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 50);

-- How admission has come on: what the grace of a claim is counted from.
CREATE TABLE waiting_room_steps (
    exam         text             NOT NULL CONSTRAINT waiting_room_steps_room_fk
                                  REFERENCES waiting_rooms (exam),
    step         bigint           NOT NULL,
    at           timestamptz      NOT NULL DEFAULT now(),
    threshold    text COLLATE "C" NOT NULL,
    serving      bigint           NOT NULL,
    leader_epoch bigint           NOT NULL,
    CONSTRAINT waiting_room_steps_pk PRIMARY KEY (exam, step)
);
