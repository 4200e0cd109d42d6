-- An extension is ended, if the shard is still under the epoch that it was carried out under; answers how many
-- holds it has moved.
-- $1 extension, bigint
-- $2 epoch, bigint
UPDATE hold_extensions h
SET    ended_at = now(),
       extended = (SELECT count(*)
                   FROM   journal j
                   WHERE  j.exam = h.exam
                   AND    j.shard = 0
                   AND    j.verb = 'extend'
                   AND    (j.epoch, j.version) > (h.began_epoch, h.began_version))
FROM   shards s
WHERE  h.id = $1
AND    h.epoch = $2
AND    h.ended_at IS NULL
AND    s.exam = h.exam
AND    s.epoch = $2
RETURNING h.extended
