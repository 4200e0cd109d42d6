-- How often the candidates of an exam were refused, by minute and slug; oldest first, then by slug.
-- $1 exam, text
-- $2 minutes, the one that is not over among them, integer
SELECT minute, slug, sum(count)::bigint AS count
FROM   refusals
WHERE  exam = $1
AND    minute > now() - make_interval(mins => $2)
GROUP  BY minute, slug
ORDER  BY minute, slug
