-- An extension is carried out under an epoch of the shard from now on; where it begins stays.
-- $1 extension, bigint
-- $2 epoch, bigint
-- $3 version of the shard now, bigint
UPDATE hold_extensions
SET    epoch         = $2,
       began_epoch   = coalesce(began_epoch, $2),
       began_version = coalesce(began_version, $3)
WHERE  id = $1
AND    ended_at IS NULL
