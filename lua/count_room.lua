#!lua flags=allow-oom
-- count_room: counts who is in the waiting room and beyond it.
-- Why atomic: the counts of a shard that is not open are those of one that has forgotten.
-- It may run when Redis is full: it writes nothing but what Redis remembers of its own count.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   room         epoch, last number handed out, limit of the block
-- KEYS[3] zset   places       candidate by the time (ms) the place is free again
-- KEYS[4] string drawn        HyperLogLog of the candidates in the draw
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, last number or -1 when none counts under this epoch, places, drawn, now (ms)}
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, room_key, places_key, drawn_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence = ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local room = redis.call('HMGET', room_key, 'epoch', 'last')
local last = room[1] == epoch_of(fence) and tonumber(room[2]) or -1
local places = redis.call('ZCOUNT', places_key, '(' .. now_ms, '+inf')
return { DONE, last, places, redis.call('PFCOUNT', drawn_key), now_ms }
