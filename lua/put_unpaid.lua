#!lua flags=allow-oom
-- put_unpaid: sets how many holds of candidates ended unpaid, as Postgres has it, in a shard that is
-- rebuilt.
-- Why atomic: a recovery that was overtaken by another must not write into what the other is at.
-- It may run when Redis is full: a shard that cannot be opened frees nothing.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
-- ARGV[2] each candidate: its id, then its field of the hash
--
-- Returns {DONE}       there now
--         {NOT_READY}  another recovery has the shard
-- @include codes
-- @include shard

local epoch_key, unpaid_key = KEYS[1], KEYS[2]
local fence = ARGV[1]
-- Arguments of one call to Redis at most; even, as they are pairs. Lua's stack holds some 8,000.
local CALL_MAX = 4000

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
for from = 2, #ARGV, CALL_MAX do
  redis.call('HSET', unpaid_key, unpack(ARGV, from, math.min(from + CALL_MAX - 1, #ARGV)))
end
return { DONE }
