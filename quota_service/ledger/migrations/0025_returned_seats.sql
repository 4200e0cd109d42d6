-- Seats that came back and wait for the next allocation, as of the last journal entry that changed them.
-- Only exams whose rule is not that they go on sale at once have rows here.
CREATE TABLE returned_seats (
    exam    text    NOT NULL CONSTRAINT returned_seats_exam_fk REFERENCES exams (id),
    venue   text    NOT NULL,
    subject text    NOT NULL,
    seats   integer NOT NULL CONSTRAINT returned_seats_count CHECK (seats >= 0),
    CONSTRAINT returned_seats_pk PRIMARY KEY (exam, venue, subject)
) WITH (fillfactor = 50);
