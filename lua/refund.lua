#!lua flags=allow-oom
-- refund: a booking was refunded in Postgres; its seats go back and its sessions are free.
-- Why atomic: the counters, the claims and the state must change together.
-- It may run when Redis is full: it only moves what is there.
-- Transitions: confirmed -> refunded.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   confirmed    venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] stream journal      one entry a step
-- KEYS[7] set    spent        serials of reservations that have ended
-- KEYS[8] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[9] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[10] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[11] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[12] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[13] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[14] hash   definition   the definition in force
-- KEYS[15] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record, version}         refunded now
--         {DONE_BEFORE, record, version}  refunded before
--         {IN_PROGRESS, record}           a payment or a change is to be finished first
--         {ENDED, record, version}        its seats have gone back another way
--         {UNKNOWN, version}              no such record: it has no seats here
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, remaining_key, confirmed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, journal_key, spent_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[15]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local ceiling_left_key, wanted_key, definition_key = KEYS[12], KEYS[13], KEYS[14]
local fence, serial = ARGV[1], ARGV[2]
local by = ARGV[3]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local before = tonumber(redis.call('GET', version_key) or 0)
local record = read_record(record_key)
if not record then
  return { UNKNOWN, before }
end
local state = record[STATE]
if state == 'refunded' then
  return { DONE_BEFORE, record_text(record), before }
end
if state == 'released' or state == 'expired' then
  return { ENDED, record_text(record), before }
end
if state ~= 'confirmed' then
  return { IN_PROGRESS, record_text(record) }
end

local moves = begin_moves(definition_key)
give_seats_back(moves, record, record[VENUE], 'confirmed', false, wanted_key, aside_left_key,
  ceiling_left_key)
add_up(confirmed_key, moves.confirmed)
local returned = write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
free_sessions(record, claims_key, serial)
record[STATE] = 'refunded'
local text = write_ended_record(record_key, record, spent_key, serial)
local version = append(version_key, journal_key, fence, by, 'refund', serial, clock_ms(), text, returned)
return { DONE, text, version }
