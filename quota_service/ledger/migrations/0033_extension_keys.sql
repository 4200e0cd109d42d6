-- The key under which an extension of holds was asked for: a repeat under it is the same extension.
ALTER TABLE hold_extensions
    ADD COLUMN idempotency_key text;
CREATE UNIQUE INDEX hold_extensions_by_key ON hold_extensions (exam, idempotency_key);
