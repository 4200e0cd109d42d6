#!lua flags=allow-oom
-- trim_journal: removes the journal entries that are in Postgres, the oldest first, so many a call.
-- Why a script: entries of a server that is not the shard's any more were never drained from it.
-- It may run when Redis is full: it only removes.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] first entry that stays, <epoch>-<version>
--
-- Returns {DONE, more}: 1 when there may be more to remove, else 0; or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, journal_key = KEYS[1], KEYS[2]
local fence, first = ARGV[1], ARGV[2]
-- Entries removed in one call. A stream has a hundred in each of its nodes, of which whole ones go
-- first; what is left then is in one node.
local ENTRIES_MAX = 2000

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if redis.call('XTRIM', journal_key, 'MINID', '~', first, 'LIMIT', ENTRIES_MAX) > ENTRIES_MAX / 2 then
  return { DONE, 1 }
end
redis.call('XTRIM', journal_key, 'MINID', first)
return { DONE, 0 }
