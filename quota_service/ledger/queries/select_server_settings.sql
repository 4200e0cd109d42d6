-- Settings of the server, as they hold for our connections.
-- $1 names, text[]
SELECT name, setting
FROM   pg_settings
WHERE  name = ANY ($1::text[])
ORDER  BY name
