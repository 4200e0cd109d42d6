#!lua flags=allow-oom
-- define: puts a definition of the exam in force in its shard.
-- Why atomic: each script sees one definition, whole; and of two that put one in
-- force, the one that has not heard of the other is refused.
-- It may run when Redis is full: it writes a few fields, and a recovery needs it.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   definition   the definition in force: revision, times of windows and sittings
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] revision in force before, '' where there is none
-- ARGV[3] each field: its name and its value, the revision first
--
-- Returns {DONE}       in force now
--         {STALE}      another one is in force than the caller knows
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, definition_key = KEYS[1], KEYS[2]
local fence, before = ARGV[1], ARGV[2]
local FIXED_ARGS = 2

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if (redis.call('HGET', definition_key, 'revision') or '') ~= before then
  return { STALE }
end
redis.call('DEL', definition_key)
redis.call('HSET', definition_key, unpack(ARGV, FIXED_ARGS + 1))
return { DONE }
