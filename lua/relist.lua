#!lua
-- relist: gives entries that wait by Postgres their numbers, and adds those that Redis does not have. One
-- that wants something else there wants what Postgres says.
-- Why atomic: an entry and the counts of what it wants are one state.
-- It makes no check: that an entry waits is decided by Postgres. Doing it again changes nothing.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   wanted       venue/subject -> entries that want it
-- KEYS[3] hash   list         serial of a waiting entry -> what it wants
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

local epoch_key, wanted_key, list_key = KEYS[1], KEYS[2], KEYS[3]
local fence = ARGV[1]
local FIXED_ARGS = 1

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local added = 0

-- What an entry says but for its number.
local function wish_of(text)
  return string.match(text, '|(.*)$')
end

for at = FIXED_ARGS + 1, #ARGV, 6 do
  local text = table.concat(ARGV, '|', at + 1, at + 5)
  local before = redis.call('HGET', list_key, ARGV[at])
  if before ~= text then
    redis.call('HSET', list_key, ARGV[at], text)
  end
  if not before or wish_of(before) ~= wish_of(text) then
    if before then
      count_wanted(wanted_key, read_entry(before), -1)
    else
      added = added + 1
    end
    count_wanted(wanted_key, read_entry(text), 1)
  end
end
return { DONE, added }
