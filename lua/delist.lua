#!lua flags=allow-oom
-- delist: removes entries of the waiting list that do not wait any more.
-- Why atomic: an entry and the counts of what it wants are one state.
-- It may run when Redis is full: it only frees.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   wanted       venue/subject -> entries that want it
-- KEYS[3] hash   list         serial of a waiting entry -> what it wants
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] each entry: serial, number. With '' for its number one is removed only while it has none,
--         so that one which Postgres has got meanwhile stays
--
-- Returns {DONE, removed} how many entries were there
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
local removed = 0
for at = FIXED_ARGS + 1, #ARGV, 2 do
  local text = redis.call('HGET', list_key, ARGV[at])
  local entry = text and read_entry(text)
  if entry and (entry[LIST_NUMBER] == '' or entry[LIST_NUMBER] == ARGV[at + 1]) then
    redis.call('HDEL', list_key, ARGV[at])
    count_wanted(wanted_key, entry, -1)
    removed = removed + 1
  end
end
return { DONE, removed }
