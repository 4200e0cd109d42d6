#!lua flags=no-writes
-- shard_status: returns the fence and the version of a shard, open to the caller or not.
-- Why atomic: the epoch, the run and the version must be of one moment.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, fence, version}        open to the caller
--         {NOT_READY, fence or '', version}
-- @include codes
-- @include shard

local epoch_key, version_key = KEYS[1], KEYS[2]
local fence = ARGV[1]

local stored, version = text_like(epoch_key, '^%d.*$'), text_like(version_key, '^%d+$')
if not stored or not version or not is_open(epoch_key, fence) then
  return { NOT_READY, stored or '', tonumber(version or 0) }
end
return { DONE, stored, tonumber(version) }
