#!lua flags=allow-oom
-- confirm: the booking is committed in Postgres; Redis learns of it.
-- Why atomic: the counters, the index of attempts and the state must change together.
-- It may run when Redis is full: it only moves what is there.
-- Fields that only a hold needs are cleared, so that the record equals the booking in Postgres.
-- Transitions: confirming -> confirmed.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   confirming   venue/subject -> seats
-- KEYS[4] hash   confirmed    venue/subject -> seats
-- KEYS[5] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[6] stream journal      one entry a step
-- KEYS[7] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record}          confirmed now
--         {DONE_BEFORE, record}   confirmed before
--         {NO_ATTEMPT, record}    the record says neither: the stores disagree
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, confirming_key, confirmed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local pinned_key, journal_key, record_key = KEYS[5], KEYS[6], KEYS[7]
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
if state == 'confirmed' or state == 'changing_venue' or state == 'refunded' then
  return { DONE_BEFORE, record_text(record) }
end
if state ~= 'confirming' then
  return { NO_ATTEMPT, record_text(record) }
end

move_seats(record, record[VENUE], confirming_key, confirmed_key)
redis.call('ZREM', pinned_key, serial)
record[STATE] = 'confirmed'
record[DEADLINE_MS] = record[FIRST_DEADLINE_MS]
record[DUE_MS] = record[FIRST_DEADLINE_MS]
record[CHECKED_OUT], record[PAYMENT_SEEN] = '1', '1'
record[ATTEMPT], record[ATTEMPT_BEGAN_MS], record[KEY_ID] = '', '0', ''
local text = write_record(record_key, record)
append(version_key, journal_key, fence, by, 'confirm', serial, clock_ms(), text)
return { DONE, text }
