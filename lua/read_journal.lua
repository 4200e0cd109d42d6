#!lua flags=no-writes
-- read_journal: reads journal entries, oldest first.
-- Why a script: the journal of a server that is not the shard's any more must not be drained, and
-- whether entries are missing at its end shows in a version of the same moment.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] after this entry, <epoch>-<version>
-- ARGV[3] entries at most
--
-- Returns {DONE, version, {id, {field, value, …}}, …} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, version_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local fence, after, entries = ARGV[1], ARGV[2], ARGV[3]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local version = tonumber(redis.call('GET', version_key) or 0)
local found = redis.call('XRANGE', journal_key, '(' .. after, '+', 'COUNT', entries)
return { DONE, version, unpack(found) }
