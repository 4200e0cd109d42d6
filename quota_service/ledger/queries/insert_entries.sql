-- Entries of waiting lists that are locked; answers them.
-- $1 exams, text[]; the rest by position
-- $2 serials, text[]
-- $3 candidates, text[]
-- $4 numbers, bigint[]
-- $5 subjects, text[]: joined by commas
-- $6 their sessions, text[]: joined by commas
-- $7 venues in order of choice, text[]: joined by commas
-- $8 until, timestamptz[]; null for as long as registration is open
-- $9 quiet hours from, text[]; null where there are none
-- $10 quiet hours to, text[]
-- $11 windows, bigint[]
-- $12 request hashes, text[]
-- $13 keys, text[]
-- $14 requests, text[]
INSERT INTO waiting_list_entries (exam, serial, candidate, number, subjects, sessions, venues, until,
                                  quiet_from, quiet_to, draw_window, request_hash, key_id, request_id)
SELECT exam, serial, candidate, number, string_to_array(subjects, ','),
       string_to_array(sessions, ','), string_to_array(venues, ','), until, quiet_from, quiet_to,
       draw_window, request_hash, key_id, request_id
FROM   unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
              $8::timestamptz[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::text[],
              $14::text[])
       AS new (exam, serial, candidate, number, subjects, sessions, venues, until, quiet_from,
               quiet_to, draw_window, request_hash, key_id, request_id)
RETURNING *
