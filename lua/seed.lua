#!lua flags=allow-oom
-- seed: gives a shard that is recovered the version Postgres knows, and its quotas.
-- Why atomic: a recovery that was overtaken by another must not write into what the other is at.
-- It may run when Redis is full: a shard that cannot be opened frees nothing.
--
-- KEYS[1] string epoch        the shard's epoch and run
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
-- ARGV[2] version of the last step Postgres knows
-- ARGV[3] each quota: venue/subject, its capacity and its booked seats; none where they stay
--
-- Returns {DONE}       there now
--         {NOT_READY}  another recovery has the shard
-- @include codes
-- @include shard

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key = KEYS[5], KEYS[6], KEYS[7]
local fence, version = ARGV[1], ARGV[2]
local FIXED_ARGS = 2

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('SET', version_key, version)
for i = FIXED_ARGS + 1, #ARGV, 3 do
  local quota, seats, booked = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  redis.call('HSET', capacity_key, quota, seats)
  redis.call('HSET', remaining_key, quota, seats - booked)
  redis.call('HSET', held_key, quota, 0)
  redis.call('HSET', confirming_key, quota, 0)
  redis.call('HSET', confirmed_key, quota, booked)
end
return { DONE }
