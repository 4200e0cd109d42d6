#!lua flags=allow-oom
-- trim_journal: removes the journal entries that are in Postgres.
-- Why a script: entries of a server that is not the shard's any more were never drained from it.
-- It may run when Redis is full: it only removes.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] first entry that stays, <epoch>-<version>
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, journal_key = KEYS[1], KEYS[2]
local fence, first = ARGV[1], ARGV[2]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('XTRIM', journal_key, 'MINID', first)
return { DONE }
