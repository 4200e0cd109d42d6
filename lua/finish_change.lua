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
-- KEYS[8] string record       the reservation's record
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
local confirmed_key, pinned_key, journal_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
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

if has_moved then
  move_seats(record, record[TO_VENUE], confirming_key, confirmed_key)
  move_seats(record, record[VENUE], confirmed_key, remaining_key)
  record[VENUE] = record[TO_VENUE]
  record[VENUE_CHANGES] = (tonumber(record[VENUE_CHANGES]) or 0) + 1
else
  move_seats(record, record[TO_VENUE], confirming_key, remaining_key)
end
redis.call('ZREM', pinned_key, serial)
record[STATE] = 'confirmed'
record[TO_VENUE] = ''
record[ATTEMPT] = ''
record[ATTEMPT_BEGAN_MS] = 0
local text = write_record(record_key, record)
append(version_key, journal_key, fence, by, 'settle_change', serial, clock_ms(), text)
return { DONE, text }
