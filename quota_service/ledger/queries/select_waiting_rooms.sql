-- The waiting rooms of some exams, or every one.
-- $1 exams, text[]; null for all
SELECT exam, seed, ticket_key, pass_key, threshold, late_threshold, serving, late_through,
       numbers_reserved, drawn, rate, fixed_rate, paused, leader, leader_epoch, lease_until,
       stepped_at, opened_at, created_at, source, entries_count, entries_root, entries_frozen_at,
       source_evidence, randomness, source_known_at, sourceless_reason, sourceless_at
FROM   waiting_rooms
WHERE  $1::text[] IS NULL
OR     exam = ANY ($1::text[])
