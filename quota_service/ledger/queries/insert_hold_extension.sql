-- An extension that ops have decided; answers its id.
-- $1 exam, text
-- $2 what ops did, bigint
-- $3 venue, text; '' for all
-- $4 subject, text; '' for any
-- $5 reservation, text; '' for all
-- $6 how much longer, ms, bigint
-- $7 holds made up to then, timestamptz
-- $8 idempotency key, text; null without one
INSERT INTO hold_extensions (exam, action, venue, subject, reservation, ms, as_of, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id
