-- What was done in an exam, by the second, among its last journal entries, as far as they are
-- drained; oldest first. `steps` counts the entries of every kind.
-- $1 exam, text
-- $2 time from which on, timestamptz
-- $3 entries that are read at most, integer
SELECT date_trunc('second', last.at) AS second,
       count(*) AS steps,
       count(*) FILTER (WHERE last.verb IN ('reserve', 'offer')) AS held,
       count(*) FILTER (WHERE last.verb = 'confirm') AS confirmed,
       count(*) FILTER (WHERE last.verb = 'release') AS released,
       count(*) FILTER (WHERE last.verb = 'expire') AS expired
FROM   (SELECT verb, at
        FROM   journal
        WHERE  exam = $1
        AND    shard = 0
        ORDER  BY epoch DESC, version DESC
        LIMIT  $3) AS last
WHERE  last.at >= $2
GROUP  BY second
ORDER  BY second
