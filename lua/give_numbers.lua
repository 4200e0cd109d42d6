#!lua
-- give_numbers: gives the queue a block of numbers that Postgres has set aside for good.
-- Why atomic: a block must not take the place of one that reaches further.
-- Under a new epoch counting starts at the block's start: every number before it may have been
-- handed out by a Redis that forgot it. Under the same epoch the count goes on up to the limit.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] start: the numbers of the block come after it
-- ARGV[3] the last number of the block, at most handed out
--
-- Returns {DONE}         the block counts from now on
--         {DONE_BEFORE}  one that reaches as far was there
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, room_key = KEYS[1], KEYS[2]
local fence, start, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local epoch = epoch_of(fence)
local room = redis.call('HMGET', room_key, 'epoch', 'limit')
if room[1] == epoch and tonumber(room[2]) >= limit then
  return { DONE_BEFORE }
end
if room[1] ~= epoch then
  redis.call('HSET', room_key, 'epoch', epoch, 'last', start)
end
redis.call('HSET', room_key, 'limit', limit)
return { DONE }
