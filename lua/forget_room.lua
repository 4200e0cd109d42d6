#!lua flags=allow-oom
-- forget_room: removes the waiting room of an exam that is over.
-- Why a script: the room of a shard that another recovery has taken over is not ours to remove.
-- It may run when Redis is full: it only removes.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
-- KEYS[3] zset   queue        candidate by number, until its turn has passed
-- KEYS[4] string drawn        HyperLogLog of the candidates in the draw
-- KEYS[5] zset   places       candidate by the time (ms) the place is free again
-- KEYS[6] hash   passes       candidate -> the last pass
-- KEYS[7] hash   signals      process -> time (ms) of its report|the report
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, fence = KEYS[1], ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
return { DONE }
