-- What a key may do: refunds are a scope of their own, and a key can be bound to exams.

-- Keys that are there go on to do what they could.
UPDATE api_keys SET scopes = scopes || '{refunds}' WHERE 'frontend' = ANY (scopes);

-- Null: every exam.
ALTER TABLE api_keys
    ADD COLUMN exams text[] CONSTRAINT api_keys_exams CHECK (cardinality(exams) > 0);
