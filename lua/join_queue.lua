#!lua
-- join_queue: gives a candidate a number, first come, first served.
-- Why atomic: no number may be given twice, nor two numbers to one candidate.
-- Numbers are taken from a block that Postgres has set aside for good; the block counts under one
-- epoch of the shard only, so that a Redis that forgot what it gave starts behind all of it. Who
-- has a number keeps it until its turn has passed or its ticket was used.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   room         epoch, last number handed out, limit of the block
-- KEYS[3] hash   numbers      candidate -> number
-- KEYS[4] hash   passes       candidate -> ticket|pass expiry (ms)|epoch
-- KEYS[5] zset   places       candidate by the time (ms) the place is free again
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] candidate
-- ARGV[3] late_through: turns of numbers up to this have passed
-- ARGV[4] most: candidates with a number, at most
--
-- Returns {DONE, number}         given now
--         {DONE_BEFORE, number}  given before
--         {NO_NUMBERS, limit}    the block is used up to its limit; -1 when none counts here now
--         {QUEUE_FULL}           too many have a number
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include places

local epoch_key, room_key, numbers_key, passes_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local places_key = KEYS[5]
local fence, candidate = ARGV[1], ARGV[2]
local late_through, most = tonumber(ARGV[3]), tonumber(ARGV[4])

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local function keeps(number)
  if number <= late_through then
    return false
  end
  local used = used_ticket(passes_key, candidate)
  return not used or used[USED_TICKET] < number or has_place(places_key, candidate, clock_ms())
end

local number = tonumber(redis.call('HGET', numbers_key, candidate) or 0)
if number > 0 and keeps(number) then
  return { DONE_BEFORE, number }
end
if number == 0 and redis.call('HLEN', numbers_key) >= most then
  return { QUEUE_FULL }
end
local room = redis.call('HMGET', room_key, 'epoch', 'last', 'limit')
if room[1] ~= epoch_of(fence) then
  return { NO_NUMBERS, -1 }
end
local last, limit = tonumber(room[2]), tonumber(room[3])
if last >= limit then
  return { NO_NUMBERS, limit }
end
redis.call('HSET', room_key, 'last', last + 1)
redis.call('HSET', numbers_key, candidate, last + 1)
return { DONE, last + 1 }
