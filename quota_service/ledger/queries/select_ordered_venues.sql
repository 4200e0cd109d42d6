-- The venues that were ordered, where the drained journal tells of several.
-- $1 reservations, text[]
SELECT id, venues
FROM   reservations
WHERE  id = ANY ($1::text[])
AND    venues IS NOT NULL
