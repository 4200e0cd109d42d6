-- Sets the rate of admission, or lets it adapt again from where it is.
-- $1 exam, text
-- $2 fixed_rate, float8 (null: adaptive)
UPDATE waiting_rooms
SET    fixed_rate = $2::float8
WHERE  exam = $1
RETURNING *
