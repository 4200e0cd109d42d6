#!lua
-- open: opens a shard that was never served from, under its first epoch.
-- Why atomic: a shard under a later epoch must not be opened again by a caller with an older one.
-- One that a process opened and did not live to tell Postgres of is opened for this run.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
--
-- ARGV[1] fence to open under, <epoch>@<run>
--
-- Returns {DONE}          open now
--         {DONE_BEFORE}   open under this fence before
--         {NOT_READY}     under another epoch, or being recovered
-- @include codes

local epoch_key, version_key = KEYS[1], KEYS[2]
local fence = ARGV[1]

local stored = redis.call('GET', epoch_key)
if stored == fence then
  return { DONE_BEFORE }
end
if stored and string.match(stored, '^%d+@') ~= string.match(fence, '^%d+@') then
  return { NOT_READY }
end
redis.call('SETNX', version_key, 0)
redis.call('SET', epoch_key, fence)
return { DONE }
