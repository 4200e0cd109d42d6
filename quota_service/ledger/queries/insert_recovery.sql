-- A recovery begins.
-- $1 exam, text
-- $2 epoch, bigint
-- $3 reason, text
INSERT INTO recoveries (exam, epoch, reason)
VALUES ($1, $2, $3)
