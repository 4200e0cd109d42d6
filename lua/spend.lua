#!lua flags=allow-oom
-- spend: marks the serials of ended reservations, whose records a rebuilt shard does not have.
-- Why atomic: a recovery that was overtaken by another must not write into what the other is at.
-- It may run when Redis is full: a shard that cannot be opened frees nothing.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] set    spent        serials of reservations that have ended
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
-- ARGV[2] the serials
--
-- Returns {DONE}       there now
--         {NOT_READY}  another recovery has the shard
-- @include codes
-- @include shard

local epoch_key, spent_key, fence = KEYS[1], KEYS[2], ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('SADD', spent_key, unpack(ARGV, 2, #ARGV))
return { DONE }
