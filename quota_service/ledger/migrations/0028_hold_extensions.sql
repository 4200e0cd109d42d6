-- Extensions of holds, each decided here before it is carried out in Redis: the holds of an exam that were made up to
-- `as_of` are live for `ms` longer; of a venue, of a subject or only one hold where they are named. They are carried out
-- in the order of their ids. `epoch` is that of the shard under which one is carried out, and `began_epoch`,
-- `began_version` is the step after which all steps `extend` of the journal are its own. `extended` counts these.
CREATE TABLE hold_extensions (
    id            bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT hold_extensions_pk PRIMARY KEY,
    exam          text        NOT NULL CONSTRAINT hold_extensions_exam_fk REFERENCES exams (id),
    action        bigint      NOT NULL CONSTRAINT hold_extensions_action_fk REFERENCES ops_actions (id),
    venue         text        NOT NULL,
    subject       text        NOT NULL,
    reservation   text        NOT NULL,
    ms            bigint      NOT NULL CONSTRAINT hold_extensions_ms CHECK (ms > 0),
    as_of         timestamptz NOT NULL,
    epoch         bigint,
    began_epoch   bigint,
    began_version bigint,
    extended      bigint      NOT NULL DEFAULT 0,
    ended_at      timestamptz,
    CONSTRAINT hold_extensions_began CHECK ((began_epoch IS NULL) = (epoch IS NULL)
                                            AND (began_version IS NULL) = (epoch IS NULL))
);
CREATE INDEX hold_extensions_unfinished ON hold_extensions (exam, id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX hold_extensions_of_action ON hold_extensions (action);
