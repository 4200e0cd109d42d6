-- A page of the reservations that payments of a reference name, the provider's of the payment or the id of an event.
-- $1 reference, text
-- $2 exam, text; all where null
-- $3 after this reservation, text
-- $4 limit, integer
SELECT id
FROM   (SELECT reservation AS id
        FROM   payment_events
        WHERE  event = $1
        UNION
        SELECT reservation
        FROM   payment_events
        WHERE  provider_reference = $1 AND status = 'captured' AND has_reference
        UNION
        SELECT reservation
        FROM   payment_events
        WHERE  provider_reference = $1 AND status = 'captured' AND NOT has_reference AND repeats IS NULL) AS found
WHERE  id > $3
AND    ($2::text IS NULL OR split_part(id, '.', 1) = $2)
ORDER  BY id
LIMIT  $4
