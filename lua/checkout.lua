#!lua
-- checkout: payment begins, so the deadline moves out, once, but not beyond the beginning of the first
-- sitting.
-- Why atomic: "once" must hold however often and from wherever it is asked.
-- Transitions: held -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] zset   due          serial by the time (ms) it may expire
-- KEYS[4] stream journal      one entry a step
-- KEYS[5] hash   definition   the definition in force
-- KEYS[6] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] checkout grace, ms
-- ARGV[4] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record, version} the deadline has moved now
--         {DONE_BEFORE, record}   it had moved before, or a payment is being recorded
--         {ALREADY_CONFIRMED}     paid and confirmed
--         {ENDED, record}         released or expired
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal

local epoch_key, version_key, due_key = KEYS[1], KEYS[2], KEYS[3]
local journal_key, definition_key, record_key = KEYS[4], KEYS[5], KEYS[6]
local fence, serial, grace_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local by = ARGV[4]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
local state = record[STATE]
if state == 'released' or state == 'expired' or state == 'refunded' then
  return { ENDED, record_text(record) }
end
if state == 'confirming' or (state == 'held' and record[CHECKED_OUT] == '1') then
  return { DONE_BEFORE, record_text(record) }
end
if state ~= 'held' then
  return { ALREADY_CONFIRMED }
end

local deadline_ms = tonumber(record[DEADLINE_MS])
local room_ms = first_sitting_ms(definition_key, split(record[SUBJECTS], ',')) - deadline_ms
local more_ms = math.max(0, math.min(grace_ms, room_ms))
record[DEADLINE_MS] = deadline_ms + more_ms
record[DUE_MS] = tonumber(record[DUE_MS]) + more_ms
record[CHECKED_OUT] = 1
local text = write_record(record_key, record)
redis.call('ZADD', due_key, record[DUE_MS], serial)
local version = append(version_key, journal_key, fence, by, 'checkout', serial, clock_ms(), text)
return { DONE, text, version }
