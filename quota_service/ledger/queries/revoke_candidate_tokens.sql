-- Revokes the tokens of a candidate; a repeat revokes those issued since too.
-- $1 exam, text
-- $2 candidate, text
-- $3 id of the token, text; empty for all of the candidate
-- $4 until when they were issued, bigint (ms since the epoch)
-- $5 when the last of them ends, bigint (ms since the epoch)
-- $6 API key id, text
-- $7 request id, text
INSERT INTO revoked_candidate_tokens AS known
       (exam, candidate, token, revoked_at, until, key_id, request_id)
VALUES ($1, $2, $3, to_timestamp($4::bigint / 1000.0), to_timestamp($5::bigint / 1000.0), $6, $7)
ON CONFLICT ON CONSTRAINT revoked_candidate_tokens_pk DO UPDATE
SET    revoked_at = greatest(known.revoked_at, excluded.revoked_at),
       until = greatest(known.until, excluded.until),
       key_id = excluded.key_id,
       request_id = excluded.request_id,
       written_in = excluded.written_in
