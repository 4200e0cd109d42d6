#!lua
-- open: opens a shard that was never used, under its first epoch.
-- Why atomic: a shard that is open must never be opened again, whoever asks at the same moment.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
--
-- ARGV[1] epoch to open under
--
-- Returns {DONE}          open now
--         {DONE_BEFORE}   open under this epoch before
--         {NOT_READY}     open under another epoch
-- @include codes

local epoch_key, version_key, epoch = KEYS[1], KEYS[2], ARGV[1]

local standing = redis.call('GET', epoch_key)
if standing then
  return { standing == epoch and DONE_BEFORE or NOT_READY }
end
redis.call('SET', epoch_key, epoch)
redis.call('SET', version_key, 0)
return { DONE }
