#!lua flags=allow-oom
-- abandon_payment: an attempt to record a payment has made no booking, so its reservation is a hold
-- again, under the deadline it had. The expiry leaves it alone for a grace, in which the payment may
-- be reported again. One that had expired before the attempt has expired: its seats go back.
-- Why atomic: the counters, the index of due holds and the state must change together.
-- It may run when Redis is full: it only moves what is there.
-- Transitions: confirming -> held, confirming -> expired.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   confirming   venue/subject -> seats
-- KEYS[6] hash   claims       candidate/session -> serial
-- KEYS[7] zset   due          serial by the time (ms) it may expire
-- KEYS[8] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[9] stream journal      one entry a step
-- KEYS[10] set    spent       serials of reservations that have ended
-- KEYS[11] hash   unpaid      candidate -> holds that ended unpaid|last end (ms)
-- KEYS[12] hash   key_held    key/venue/subject -> seats in unpaid holds
-- KEYS[13] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[14] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[15] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[16] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[17] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[18] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[19] hash   definition   the definition in force
-- KEYS[20] string record      the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] attempt that is abandoned
-- ARGV[4] grace, ms from now
-- ARGV[5] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record}          a hold again, or expired
--         {DONE_BEFORE, record}   not under this attempt any more
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
local confirming_key, claims_key, due_key, pinned_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local journal_key, spent_key, unpaid_key = KEYS[9], KEYS[10], KEYS[11]
local key_held_key, record_key = KEYS[12], KEYS[20]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[13], KEYS[14], KEYS[15], KEYS[16]
local ceiling_left_key, wanted_key, definition_key = KEYS[17], KEYS[18], KEYS[19]
local fence, serial, attempt, grace_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local by = ARGV[5]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
if record[STATE] ~= 'confirming' or record[ATTEMPT] ~= attempt then
  return { DONE_BEFORE, record_text(record) }
end

local now_ms = clock_ms()
redis.call('ZREM', pinned_key, serial)
record[ATTEMPT] = ''
record[ATTEMPT_BEGAN_MS] = 0
local text, returned
if record[DUE_MS] == '0' then
  local moves = begin_moves(definition_key)
  give_seats_back(moves, record, record[VENUE], 'confirming', false, wanted_key, aside_left_key,
    ceiling_left_key)
  add_up(confirming_key, moves.confirming)
  returned = write_pools(
    moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
  free_sessions(record, claims_key, serial)
  record[STATE], record[DUE_MS] = 'expired', record[DEADLINE_MS]
  count_unpaid(unpaid_key, record, 1)
  text = write_ended_record(record_key, record, spent_key, serial)
else
  move_seats(record, record[VENUE], confirming_key, held_key)
  local counts = {}
  count_for_key(counts, record, record[VENUE], 1)
  write_key_counts(key_held_key, counts)
  record[DUE_MS] = math.max(tonumber(record[DUE_MS]), now_ms + grace_ms)
  redis.call('ZADD', due_key, record[DUE_MS], serial)
  record[STATE] = 'held'
  text = write_record(record_key, record)
end
append(version_key, journal_key, fence, by, 'unpin', serial, now_ms, text, returned)
return { DONE, text }
