-- Draws with a public source of randomness: who is in the draw, and what its ranks are made with.

-- `source` is that of the definition until the draw is closed, and stays what it was then. A draw that
-- is closed has its entries frozen: their count and the root of their Merkle tree are noted once. Nobody
-- of the draw is admitted before the source is known, or ops have decided to open without it.
ALTER TABLE waiting_rooms
    ADD COLUMN source            jsonb,
    ADD COLUMN entries_count     bigint
        CONSTRAINT waiting_rooms_entries_count CHECK (entries_count >= 0),
    ADD COLUMN entries_root      bytea
        CONSTRAINT waiting_rooms_entries_root CHECK (length(entries_root) = 32),
    ADD COLUMN entries_frozen_at timestamptz,
    ADD COLUMN source_evidence   text,
    ADD COLUMN randomness        bytea
        CONSTRAINT waiting_rooms_randomness CHECK (length(randomness) = 32),
    ADD COLUMN source_known_at   timestamptz,
    ADD COLUMN sourceless_reason text,
    ADD COLUMN sourceless_at     timestamptz,
    ADD CONSTRAINT waiting_rooms_entries CHECK (
        (entries_count IS NULL) = (entries_root IS NULL)
        AND (entries_count IS NULL) = (entries_frozen_at IS NULL)
        AND (entries_count IS NULL OR opened_at IS NOT NULL)),
    ADD CONSTRAINT waiting_rooms_source_known CHECK (
        (randomness IS NULL) = (source_known_at IS NULL)
        AND (randomness IS NULL) = (source_evidence IS NULL)
        AND (randomness IS NULL OR entries_root IS NOT NULL)),
    ADD CONSTRAINT waiting_rooms_sourceless CHECK (
        (sourceless_at IS NULL) = (sourceless_reason IS NULL)
        AND (sourceless_at IS NULL OR (entries_root IS NOT NULL AND randomness IS NULL))),
    ADD CONSTRAINT waiting_rooms_source_first CHECK (
        source IS NULL OR threshold = repeat('0', 64)
        OR randomness IS NOT NULL OR sourceless_at IS NOT NULL);

-- One row for each candidate in a draw with a source: the hash of the entry, which is a leaf of the tree.
-- Whoever inserts holds the room, so that none is added to a draw that is closed.
CREATE TABLE draw_entries (
    exam text  NOT NULL,
    leaf bytea NOT NULL CONSTRAINT draw_entries_leaf CHECK (length(leaf) = 32),
    CONSTRAINT draw_entries_pk PRIMARY KEY (exam, leaf)
);

-- Subtrees of the frozen entries, in order: what the proof of an entry needs beside its own subtree.
CREATE TABLE draw_subtrees (
    exam       text   NOT NULL,
    number     bigint NOT NULL,
    first_leaf bytea  NOT NULL,
    root       bytea  NOT NULL CONSTRAINT draw_subtrees_root CHECK (length(root) = 32),
    CONSTRAINT draw_subtrees_pk PRIMARY KEY (exam, number)
);
