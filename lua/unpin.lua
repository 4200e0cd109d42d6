#!lua flags=allow-oom
-- unpin: a pinned reservation turns out to have no booking, so it is a hold again, under the
-- deadline it had. The expiry leaves it alone for a grace, in which the payment may be told again.
-- Why atomic: the counters, the index of due holds and the state must change together.
-- It may run when Redis is full: it only moves what is there.
-- Walks: confirming -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   held         venue/subject -> seats
-- KEYS[4] hash   confirming   venue/subject -> seats
-- KEYS[5] zset   due          serial by the time (ms) it may expire
-- KEYS[6] zset   pinned       serial by the time (ms) it was pinned
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] string record       the reservation's record
--
-- ARGV[1] epoch the caller knows
-- ARGV[2] serial of the reservation
-- ARGV[3] pin that is given up
-- ARGV[4] grace, ms from now
--
-- Returns {DONE, record}          a hold again
--         {DONE_BEFORE, record}   not pinned by this pin any more
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, held_key, confirming_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local due_key, pinned_key, journal_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local epoch, serial, pin, grace_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

if not is_open(epoch_key, epoch) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
if record[STATE] ~= 'confirming' or record[PIN] ~= pin then
  return { DONE_BEFORE, record_text(record) }
end

local now_ms = clock_ms()
move_seats(record, record[VENUE], confirming_key, held_key)
redis.call('ZREM', pinned_key, serial)
record[DUE_MS] = math.max(tonumber(record[DUE_MS]), now_ms + grace_ms)
redis.call('ZADD', due_key, record[DUE_MS], serial)
record[STATE] = 'held'
record[PIN] = ''
record[PINNED_MS] = 0
local text = write_record(record_key, record)
append(version_key, journal_key, epoch, 'unpin', serial, now_ms, text)
return { DONE, text }
