#!lua
-- open_built: opens a shard that has been rebuilt, under its new epoch.
-- Why atomic: a rebuild that was overtaken by another must not open what the other is building.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string building     the epoch under which the shard is being rebuilt
-- KEYS[3] string run          the run of the server the shard was opened in
--
-- ARGV[1] epoch to open under
-- ARGV[2] run of the server, its run_id
--
-- Returns {DONE}       open now
--         {NOT_READY}  not being rebuilt under this epoch
-- @include codes
-- @include shard

local epoch_key, building_key, run_key = KEYS[1], KEYS[2], KEYS[3]
local epoch, run = ARGV[1], ARGV[2]

if not is_open(building_key, epoch) then
  return { NOT_READY }
end
redis.call('DEL', building_key)
redis.call('SET', run_key, run)
redis.call('SET', epoch_key, epoch)
return { DONE }
