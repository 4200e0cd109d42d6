-- Tells what became of holds in steps that are in no journal: by what their records are now, and what the ledger
-- knew of them. It comes before the records are kept.
-- $1 exam, text
-- $2 epoch, bigint: of the steps that are missing
-- $3 first version that is missing, bigint
-- $4 last version that is missing, bigint
-- $5 reservations, text[]; the rest by position
-- $6 records, text[]
-- $7 made at, timestamptz[]
-- $8 verbs of entries that come behind the gap and tell of it themselves, text[]
-- $9 their reservations, text[]; by position
INSERT INTO events (kind, exam, reservation, candidate, at, data, epoch, version)
SELECT c.kind, $1, n.reservation, f.fields[2], c.at, event_of_hold(c.kind, f.fields), $2::bigint, c.version
FROM   unnest($5::text[], $6::text[], $7::timestamptz[]) AS n (reservation, record, made_at)
LEFT   JOIN reservations r ON r.id = n.reservation
CROSS  JOIN LATERAL (SELECT string_to_array(n.record, '|') AS fields,
                            coalesce(string_to_array(r.record, '|'), '{}') AS before OFFSET 0) AS f
CROSS  JOIN LATERAL (
    VALUES ('reservation.held', ARRAY['reserve', 'offer'], n.made_at, $3::bigint, r.id IS NULL),
           ('reservation.venue_changed', ARRAY['change'], now(), $4::bigint,
            f.fields[1] IN ('held', 'confirming') AND f.before[1] IN ('held', 'confirming')
            AND f.fields[3] <> f.before[3]),
           ('reservation.' || f.fields[1], ARRAY['release', 'expire'], now(), $4::bigint,
            f.fields[1] IN ('released', 'expired') AND f.before[1] IS DISTINCT FROM f.fields[1])
) AS c (kind, verbs, at, version, is_new)
WHERE  c.is_new
AND    (r.id IS NULL OR (r.epoch, r.version) < ($2::bigint, $4::bigint))
AND    NOT EXISTS (SELECT FROM unnest($8::text[], $9::text[]) AS later (verb, reservation)
                   WHERE  later.reservation = n.reservation
                   AND    later.verb = ANY (c.verbs))
ORDER  BY c.version, n.reservation
