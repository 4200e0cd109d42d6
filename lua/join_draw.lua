#!lua
-- join_draw: counts a candidate among those who take part in the draw.
-- Why atomic: who is counted in a shard that is not open would be counted for nobody.
-- It is an estimate, for the pace of admission: the draw itself stores nothing for each person.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string drawn        HyperLogLog of the candidates in the draw
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] candidate
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

if not is_open(KEYS[1], ARGV[1]) then
  return { NOT_READY }
end
redis.call('PFADD', KEYS[2], ARGV[2])
return { DONE }
