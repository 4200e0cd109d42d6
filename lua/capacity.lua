#!lua flags=allow-oom
-- capacity: sets how many seats quotas have, all of those named or none.
-- Why atomic: a lower capacity is only right while enough of its seats are free.
-- It may run when Redis is full: it writes a few fields, and a recovery may need it.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
-- KEYS[8] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] each quota: venue/subject, then its capacity in seats
--
-- Returns {DONE, count changed}
--         {BELOW_TAKEN, venue/subject, seats taken, …}   every quota that cannot be lowered so far
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include journal

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key, journal_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local fence, by = ARGV[1], ARGV[2]
local FIXED_ARGS = 2

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local refusal, changes = { BELOW_TAKEN }, {}
for i = FIXED_ARGS + 1, #ARGV, 2 do
  local quota, capacity = ARGV[i], tonumber(ARGV[i + 1])
  local standing = redis.call('HGET', capacity_key, quota)
  local free = tonumber(redis.call('HGET', remaining_key, quota) or 0)
  local more = capacity - tonumber(standing or 0)
  if free + more < 0 then
    refusal[#refusal + 1] = quota
    refusal[#refusal + 1] = tonumber(standing) - free
  elseif more ~= 0 or not standing then
    changes[#changes + 1] = { quota, capacity, more }
  end
end
if #refusal > 1 then
  return refusal
end

for _, change in ipairs(changes) do
  local quota, capacity, more = change[1], change[2], change[3]
  redis.call('HSET', capacity_key, quota, capacity)
  redis.call('HINCRBY', remaining_key, quota, more)
  redis.call('HSETNX', held_key, quota, 0)
  redis.call('HSETNX', confirming_key, quota, 0)
  redis.call('HSETNX', confirmed_key, quota, 0)
  append(version_key, journal_key, fence, by, 'capacity', quota, now_ms, capacity)
end
return { DONE, #changes }
