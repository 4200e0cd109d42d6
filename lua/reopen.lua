#!lua flags=allow-oom
-- reopen: opens a shard that was recovered.
-- Why atomic: a recovery that was overtaken by another must not open what the other is at.
-- It may run when Redis is full: it only opens.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] string origin       <epoch>-<version> the recovery went on from, or none
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
--
-- Returns {DONE, version}  open now, at this version
--         {NOT_READY}      another recovery has the shard
-- @include codes
-- @include shard

local epoch_key, version_key, origin_key = KEYS[1], KEYS[2], KEYS[3]
local fence = ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('SET', epoch_key, epoch_of(fence) .. string.match(fence, '@.*$'))
redis.call('DEL', origin_key)
return { DONE, tonumber(redis.call('GET', version_key)) }
