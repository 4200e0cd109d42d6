#!lua flags=allow-oom
-- release: gives a hold back on its candidate's word.
-- Why atomic: the seats, the candidate's sessions and the state must change together and once.
-- It may run when Redis is full: it frees more than it writes.
-- Transitions: held -> released.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] set    spent        serials of reservations that have ended
-- KEYS[9] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[10] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[11] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[12] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[13] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[14] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[15] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[16] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[17] hash   definition   the definition in force
-- KEYS[18] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record}          released now
--         {DONE_BEFORE, record}   had ended before, by its candidate or by the clock
--         {IN_PROGRESS}           a payment is being recorded
--         {ALREADY_CONFIRMED}     paid and confirmed
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local spent_key, unpaid_key, key_held_key, record_key = KEYS[8], KEYS[9], KEYS[10], KEYS[18]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local ceiling_left_key, wanted_key, definition_key = KEYS[15], KEYS[16], KEYS[17]
local fence, serial = ARGV[1], ARGV[2]
local by = ARGV[3]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
local state = record[STATE]
if state == 'released' or state == 'expired' or state == 'refunded' then
  return { DONE_BEFORE, record_text(record) }
end
if state == 'confirming' then
  return { IN_PROGRESS }
end
if state ~= 'held' then
  return { ALREADY_CONFIRMED }
end

local now_ms = clock_ms()
local moves = begin_moves(definition_key)
give_seats_back(moves, record, record[VENUE], 'held', false, wanted_key, aside_left_key, ceiling_left_key)
add_up(held_key, moves.held)
local returned = write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
free_sessions(record, claims_key, serial)
redis.call('ZREM', due_key, serial)
record[STATE], record[DUE_MS] = 'released', now_ms
count_unpaid(unpaid_key, record, 1)
local counts = {}
count_for_key(counts, record, record[VENUE], -1)
write_key_counts(key_held_key, counts)
local text = write_ended_record(record_key, record, spent_key, serial)
append(version_key, journal_key, fence, by, 'release', serial, now_ms, text, returned)
return { DONE, text }
