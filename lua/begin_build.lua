#!lua flags=allow-oom
-- begin_build: closes a shard and claims it for a rebuild under a new epoch.
-- Why atomic: of two rebuilds the one with the higher epoch has the shard, whoever comes first.
-- It may run when Redis is full: it only closes.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string building     the epoch under which the shard is being rebuilt
--
-- ARGV[1] epoch the shard is to be rebuilt under
--
-- Returns {DONE}       closed, and claimed
--         {NOT_READY}  opened or claimed by a later rebuild
-- @include codes

local epoch_key, building_key, epoch = KEYS[1], KEYS[2], ARGV[1]

local standing = tonumber(redis.call('GET', epoch_key) or 0)
local building = tonumber(redis.call('GET', building_key) or 0)
if math.max(standing, building) > tonumber(epoch) or standing == tonumber(epoch) then
  return { NOT_READY }
end
redis.call('DEL', epoch_key)
redis.call('SET', building_key, epoch)
return { DONE }
