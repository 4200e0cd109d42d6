-- Gives an endpoint a secret; the one before it stays in force beside it for so long, any older one ends.
-- $1 endpoint, text
-- $2 secret, bytea
-- $3 how long the one before stays, interval
WITH older AS (
    DELETE FROM webhook_secrets
    WHERE  endpoint = $1
    AND    ends_at IS NOT NULL
), before AS (
    UPDATE webhook_secrets
    SET    ends_at = clock_timestamp() + $3::interval
    WHERE  endpoint = $1
    AND    ends_at IS NULL
    RETURNING ends_at
), made AS (
    INSERT INTO webhook_secrets (endpoint, secret)
    VALUES ($1, $2)
)
SELECT ends_at
FROM   before
