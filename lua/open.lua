#!lua
-- open: opens a shard that was never used, under its first epoch.
-- Why atomic: a shard that is open must never be opened again, whoever asks at the same moment.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] string run          the run of the server the shard was opened in
--
-- ARGV[1] epoch to open under
-- ARGV[2] run of the server, its run_id
--
-- Returns {DONE}          open now
--         {DONE_BEFORE}   open under this epoch before
--         {NOT_READY}     open under another epoch
-- @include codes

local epoch_key, version_key, run_key = KEYS[1], KEYS[2], KEYS[3]
local epoch, run = ARGV[1], ARGV[2]

local standing = redis.call('GET', epoch_key)
if standing then
  return { standing == epoch and DONE_BEFORE or NOT_READY }
end
redis.call('SET', version_key, 0)
redis.call('SET', run_key, run)
redis.call('SET', epoch_key, epoch)
return { DONE }
