#!lua flags=allow-oom
-- finish_change: Postgres has decided a change of venue. Either the booking is at the new venue now
-- and the old seats go back, or it stays where it was and the new seats go back.
-- Why atomic: one of the two sets of seats goes back in the same step that ends the change.
-- It may run when Redis is full: it only moves what is there.
-- Transitions: changing_venue -> confirmed.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   confirming   venue/subject -> seats
-- KEYS[5] hash   confirmed    venue/subject -> seats
-- KEYS[6] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[7] stream journal      one entry a step
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
-- ARGV[3] attempt of the change
-- ARGV[4] 1 when Postgres has the booking at the new venue, 0 when it has it at the old one
-- ARGV[5] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record}          finished now
--         {DONE_BEFORE, record}   not changing under this attempt any more
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, remaining_key, confirming_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local confirmed_key, pinned_key, journal_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[15]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local ceiling_left_key, wanted_key, definition_key = KEYS[12], KEYS[13], KEYS[14]
local fence, serial, attempt, has_moved = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local by = ARGV[5]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
if record[STATE] ~= 'changing_venue' or record[ATTEMPT] ~= attempt then
  return { DONE_BEFORE, record_text(record) }
end

local moves = begin_moves(definition_key)
if has_moved then
  move_seats(record, record[TO_VENUE], confirming_key, confirmed_key)
  give_seats_back(moves, record, record[VENUE], 'confirmed', false, wanted_key, aside_left_key,
    ceiling_left_key)
  record[VENUE], record[SET_ASIDE] = record[TO_VENUE], ''
  record[VENUE_CHANGES] = (tonumber(record[VENUE_CHANGES]) or 0) + 1
else
  give_seats_back(moves, record, record[TO_VENUE], 'confirming', true, wanted_key, aside_left_key,
    ceiling_left_key)
end
add_up(confirming_key, moves.confirming)
add_up(confirmed_key, moves.confirmed)
local returned = write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
redis.call('ZREM', pinned_key, serial)
record[STATE] = 'confirmed'
record[TO_VENUE] = ''
record[ATTEMPT] = ''
record[ATTEMPT_BEGAN_MS] = 0
local text = write_record(record_key, record)
append(version_key, journal_key, fence, by, 'settle_change', serial, clock_ms(), text, returned)
return { DONE, text }
