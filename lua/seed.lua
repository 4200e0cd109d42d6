#!lua
-- seed: gives a shard that is being rebuilt its quotas, with every seat free.
-- Why atomic: a rebuild that was overtaken by another must not write into what the other builds.
--
-- KEYS[1] string building     the epoch under which the shard is being rebuilt
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
--
-- ARGV[1] epoch the shard is being rebuilt under
-- ARGV[2] each quota: venue/subject, then its capacity in seats
--
-- Returns {DONE}       there now
--         {NOT_READY}  not being rebuilt under this epoch
-- @include codes
-- @include shard

local building_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key = KEYS[5], KEYS[6], KEYS[7]
local epoch = ARGV[1]
local FIXED_ARGS = 1

if not is_open(building_key, epoch) then
  return { NOT_READY }
end
redis.call('SET', version_key, 0)
for i = FIXED_ARGS + 1, #ARGV, 2 do
  local quota, capacity = ARGV[i], ARGV[i + 1]
  redis.call('HSET', capacity_key, quota, capacity)
  redis.call('HSET', remaining_key, quota, capacity)
  redis.call('HSET', held_key, quota, 0)
  redis.call('HSET', confirming_key, quota, 0)
  redis.call('HSET', confirmed_key, quota, 0)
end
return { DONE }
