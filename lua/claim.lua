#!lua flags=allow-oom
-- claim: closes a shard and claims it for a recovery under a new epoch.
-- Why atomic: of two recoveries the one with the higher epoch has the shard, in either order.
-- It may run when Redis is full: it only closes.
-- The last step of the shard is kept until it is open, so that a recovery which takes over from
-- one that died knows from where to go on. Keys that were damaged are nothing to go on from.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] string origin       <epoch>-<version> the recovery goes on from, or none
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
--
-- Returns {DONE, origin}  closed, and claimed; the origin is none when there is nothing to go on from
--         {NOT_READY}     opened or claimed under this epoch or a later one
-- @include codes
-- @include shard

local epoch_key, version_key, origin_key = KEYS[1], KEYS[2], KEYS[3]
local fence = ARGV[1]

local stored = text_like(epoch_key, '^%d.*$')
if stored and stored ~= fence and tonumber(epoch_of(stored)) >= tonumber(epoch_of(fence)) then
  return { NOT_READY }
end
local origin = 'none'
if redis.call('EXISTS', origin_key) == 1 then
  origin = text_like(origin_key, '^%d+%-%d+$') or 'none'
else
  local version = text_like(version_key, '^%d+$')
  origin = stored and version and epoch_of(stored) .. '-' .. version or 'none'
end
redis.call('SET', origin_key, origin)
redis.call('SET', epoch_key, fence)
return { DONE, origin }
