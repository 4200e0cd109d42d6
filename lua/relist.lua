#!lua
-- relist: gives entries that wait by Postgres their numbers, and adds those that Redis does not have.
-- Why atomic: an entry and the counts of what it wants are one state.
-- It makes no check: that an entry waits is decided by Postgres. Doing it again changes nothing.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   wanted       venue/subject -> entries that want it
-- KEYS[3] hash   list         serial of a waiting entry -> what it wants
-- KEYS[4] hash   definition   the definition in force
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] each entry: serial, number, candidate, subjects, session of each, venues, each joined by
--         commas
--
-- Returns {DONE, added} how many entries were not there
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include list

local epoch_key, wanted_key, list_key, definition_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence = ARGV[1]
local FIXED_ARGS = 1

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local added = 0
for at = FIXED_ARGS + 1, #ARGV, 6 do
  local text = table.concat(ARGV, '|', at + 1, at + 5)
  local before = redis.call('HGET', list_key, ARGV[at])
  redis.call('HSET', list_key, ARGV[at], text)
  if not before then
    count_wanted(wanted_key, definition_key, read_entry(text), 1)
    added = added + 1
  end
end
return { DONE, added }
