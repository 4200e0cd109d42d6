#!lua flags=allow-oom
-- finish_place: gives the place of a candidate back on the candidate's word.
-- Why atomic: a shard that is not open has forgotten who has a place.
-- It may run when Redis is full: it only removes.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] zset   places       candidate by the time (ms) the place is free again
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] candidate
--
-- Returns {DONE}         free now
--         {DONE_BEFORE}  the candidate had none
--         {NOT_READY}
-- @include codes
-- @include shard

if not is_open(KEYS[1], ARGV[1]) then
  return { NOT_READY }
end
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  return { DONE_BEFORE }
end
redis.call('ZREM', KEYS[2], ARGV[2])
return { DONE }
