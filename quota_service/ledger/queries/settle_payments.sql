-- Settles a group of payment events, with what they book and what is due back; a transaction by itself.
-- Migrations describe its arguments and answers.
-- $1 when the call is sent, timestamptz
-- $2 events, text[]; the rest by position
-- $3 reservations, text[]
-- $4 statuses, text[]
-- $5 outcomes, text[]
-- $6 reasons, text[]
-- $7 amounts in minor units, bigint[]
-- $8 currencies, text[]
-- $9 paid at in ms since the Unix epoch, bigint[]
-- $10 provider references, text[]
-- $11 body hashes, text[]
-- $12 requests that reported each, text[]
-- $13 exams of bookings, text[]; null from here on for an event that books nothing
-- $14 zeros, integer[]; null for a booking that holds no epoch
-- $15 epochs, bigint[]: of the step in Redis that each payment was begun by
-- $16 versions, bigint[]
-- $17 attempts, text[]
-- $18 candidates, text[]
-- $19 venues, text[]
-- $20 subjects, text[]: joined by commas
-- $21 sessions of the subjects, text[]: joined by commas
-- $22 reserved at in ms since the Unix epoch, bigint[]
-- $23 request hashes, text[]
-- $24 first deadlines in ms since the Unix epoch, bigint[]
-- $25 first venues, text[]
-- $26 changes of venue, integer[]
-- $27 groups and codes whose seats they are, text[]
SELECT *
FROM   settle_payments(
           asked_at            => $1,
           events              => $2,
           reservations        => $3,
           statuses            => $4,
           outcomes            => $5,
           reasons             => $6,
           amounts             => $7,
           currencies          => $8,
           paid                => ARRAY(SELECT to_timestamp(ms / 1000.0)
                                        FROM   unnest($9::bigint[]) WITH ORDINALITY AS v (ms, place)
                                        ORDER  BY place),
           provider_references => $10,
           body_hashes         => $11,
           requests            => $12,
           exams               => $13,
           shard_numbers       => $14,
           epochs              => $15,
           versions            => $16,
           pins                => $17,
           candidates          => $18,
           venues              => $19,
           subject_lists       => $20,
           session_lists       => $21,
           reserved            => ARRAY(SELECT to_timestamp(ms / 1000.0)
                                        FROM   unnest($22::bigint[]) WITH ORDINALITY AS v (ms, place)
                                        ORDER  BY place),
           request_hashes      => $23,
           first_deadlines     => ARRAY(SELECT to_timestamp(ms / 1000.0)
                                        FROM   unnest($24::bigint[]) WITH ORDINALITY AS v (ms, place)
                                        ORDER  BY place),
           first_venues        => $25,
           venue_change_counts => $26,
           set_asides          => $27)
