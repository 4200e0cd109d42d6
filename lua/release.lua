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
-- KEYS[11] string record       the reservation's record
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
local spent_key, unpaid_key, key_held_key, record_key = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
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
move_seats(record, record[VENUE], held_key, remaining_key)
free_sessions(record, claims_key, serial)
redis.call('ZREM', due_key, serial)
record[STATE], record[DUE_MS] = 'released', now_ms
count_unpaid(unpaid_key, record, 1)
local counts = {}
count_for_key(counts, record, record[VENUE], -1)
write_key_counts(key_held_key, counts)
local text = write_ended_record(record_key, record, spent_key, serial)
append(version_key, journal_key, fence, by, 'release', serial, now_ms, text)
return { DONE, text }
