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
-- KEYS[8] string record       the reservation's record
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
local claims_key, journal_key, spent_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
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

move_seats(record, record[VENUE], confirmed_key, remaining_key)
free_sessions(record, claims_key, serial)
record[STATE] = 'refunded'
local text = write_ended_record(record_key, record, spent_key, serial)
local version = append(version_key, journal_key, fence, by, 'refund', serial, clock_ms(), text)
return { DONE, text, version }
