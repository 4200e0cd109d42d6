-- Notes the count and the root of the entries of a closed draw, once; its count is what is known of the
-- size of the draw from then on.
-- $1 exam, text
-- $2 count, bigint
-- $3 root, bytea
UPDATE waiting_rooms
SET    entries_count     = $2::bigint,
       entries_root      = $3::bytea,
       entries_frozen_at = clock_timestamp(),
       drawn             = greatest(drawn, $2::bigint)
WHERE  exam = $1
AND    opened_at IS NOT NULL
AND    entries_root IS NULL
RETURNING entries_root
