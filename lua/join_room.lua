#!lua
-- join_room: gives a candidate part in the draw, or a number once the draw is closed.
-- Why atomic: who joins has part in the draw by the opening in force at that moment, no number may
-- be given twice, nor two numbers to one candidate.
-- The draw stores nothing here for each person but an estimate of how many there are. Numbers are taken
-- from a block that Postgres has set aside for good; the block counts under one epoch of the shard
-- only, so that a Redis that forgot what it gave starts behind all of it. Who has a number keeps it
-- until its turn has passed or its ticket was used.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   definition   the definition in force
-- KEYS[3] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
-- KEYS[4] string drawn        HyperLogLog of the candidates in the draw
-- KEYS[5] zset   queue        candidate by number, until its turn has passed
-- KEYS[6] hash   passes       candidate -> ticket|pass expiry (ms)|epoch
-- KEYS[7] zset   places       candidate by the time (ms) the place is free again
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] candidate
-- ARGV[3] late_through: turns of numbers up to this have passed
-- ARGV[4] most: candidates with a number whose turn has not passed, at most
--
-- Returns {DONE, 0}              in the draw
--         {DONE, 0, 1}           in the draw once its entry is in Postgres
--         {DONE, number}         given now
--         {DONE_BEFORE, number}  given before
--         {NO_NUMBERS, limit}    the block is used up to its limit; -1 when none counts here now
--         {QUEUE_FULL}           too many have a number whose turn has not passed
--         {CLOSED, end (ms)}     registration is over
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include opening
-- @include places

local epoch_key, definition_key, room_key, drawn_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local queue_key, passes_key, places_key = KEYS[5], KEYS[6], KEYS[7]
local fence, candidate = ARGV[1], ARGV[2]
local late_through, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local IN_DRAW = 0
-- Candidates whose turn has passed that go with one who joins.
local PASSED_MAX = 100

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local opens_at_ms, closes_at_ms, idle_ms, _, entries_close_ms = times_in_force(definition_key)
if not opens_at_ms then
  return { NOT_READY }
end
if now_ms >= closes_at_ms then
  return { CLOSED, closes_at_ms }
end

local function keeps(number)
  if number <= late_through then
    return false
  end
  local used = used_ticket(passes_key, candidate)
  return not used or used[USED_TICKET] < number
    or has_place(places_key, candidate, places_from_ms(definition_key, opens_at_ms), idle_ms, now_ms)
end

local function join_queue()
  local number = tonumber(redis.call('ZSCORE', queue_key, candidate) or 0)
  if number > 0 and keeps(number) then
    return { DONE_BEFORE, number }
  end
  if number <= late_through and redis.call('ZCOUNT', queue_key, '(' .. late_through, '+inf') >= most then
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
  local passed = redis.call('ZRANGE', queue_key, '-inf', late_through, 'BYSCORE', 'LIMIT', 0, PASSED_MAX)
  if #passed > 0 then
    redis.call('ZREM', queue_key, unpack(passed))
  end
  close_draw(room_key)
  redis.call('HSET', room_key, 'last', last + 1)
  redis.call('ZADD', queue_key, last + 1, candidate)
  return { DONE, last + 1 }
end

if draw_is_closed(room_key, opens_at_ms, entries_close_ms, now_ms) then
  return join_queue()
end
redis.call('PFADD', drawn_key, candidate)
if entries_close_ms then
  return { DONE, IN_DRAW, 1 }
end
return { DONE, IN_DRAW }
