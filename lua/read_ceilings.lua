#!lua flags=no-writes
-- read_ceilings: reads what is left under ceilings, and what is taken in the quotas under each.
-- Why a script: the two only agree when they are read in one step.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   capacity     venue/subject -> seats
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   ceiling_left venue/session -> seats left under its ceiling
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] each ceiling: venue/session, count of its quotas, then these quotas
--
-- Returns {DONE, seats left or '' where it has no ceiling, seats taken, …}   a pair for each ceiling
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, capacity_key, remaining_key, ceiling_left_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence = ARGV[1]
local FIXED_ARGS = 1

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local answer = { DONE }
local at = FIXED_ARGS + 1
while ARGV[at] do
  local ceiling, count = ARGV[at], tonumber(ARGV[at + 1])
  local taken = 0
  if count > 0 then
    local capacity = redis.call('HMGET', capacity_key, unpack(ARGV, at + 2, at + 1 + count))
    local remaining = redis.call('HMGET', remaining_key, unpack(ARGV, at + 2, at + 1 + count))
    for i = 1, count do
      taken = taken + tonumber(capacity[i] or 0) - tonumber(remaining[i] or 0)
    end
  end
  answer[#answer + 1] = redis.call('HGET', ceiling_left_key, ceiling) or ''
  answer[#answer + 1] = taken
  at = at + 2 + count
end
return answer
