-- The dealing of returned seats: whether one is under way, and the draw of each window.

-- `is_dealing` while the seats of an instant or a seat release are dealt: a leader that died in it is followed
-- by one that goes on. `draw_seed` is the seed of the window that entries join now: made with the window, and
-- committed to by its SHA-256; it is shown when the window is drawn.
ALTER TABLE waiting_lists
    ADD COLUMN is_dealing boolean NOT NULL DEFAULT false,
    ADD COLUMN draw_seed bytea NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid(), 'UTF8'))
        CONSTRAINT waiting_lists_draw_seed CHECK (octet_length(draw_seed) = 32);

-- One row for each window that was drawn.
CREATE TABLE waiting_list_windows (
    exam        text        NOT NULL CONSTRAINT waiting_list_windows_list_fk REFERENCES waiting_lists (exam),
    draw_window bigint      NOT NULL,
    draw_seed   bytea       NOT NULL,
    drawn_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT waiting_list_windows_pk PRIMARY KEY (exam, draw_window)
);
