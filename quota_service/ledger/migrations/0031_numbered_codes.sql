-- Codes are listed in the order in which they were made.
ALTER TABLE set_aside_codes
    ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
CREATE INDEX set_aside_codes_by_number ON set_aside_codes (exam, set_aside, number);
