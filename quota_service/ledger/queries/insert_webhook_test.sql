-- Lets an event happen that only one endpoint is told of.
-- $1 endpoint, text
INSERT INTO events (kind, at, data)
VALUES ('webhook.test', clock_timestamp(), jsonb_build_object('endpoint', $1::text))
