-- Records payment events; payment_events_pk refuses one that is there.
-- $1 events, text[]; the rest by position
-- $2 reservations, text[]
-- $3 statuses, text[]
-- $4 outcomes, text[]
-- $5 reasons, text[]
-- $6 amounts in minor units, bigint[]
-- $7 currencies, text[]
-- $8 paid at, timestamptz[]
-- $9 provider references, text[]
-- $10 body hashes, text[]
INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency, paid_at,
                            provider_reference, body_hash)
SELECT *
FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
              $8::timestamptz[], $9::text[], $10::text[]) AS new (event)
ORDER  BY event
