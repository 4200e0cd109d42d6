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
local quotas, seats = {}, {}
for i = FIXED_ARGS + 1, #ARGV, 2 do
  quotas[#quotas + 1] = ARGV[i]
  seats[#seats + 1] = tonumber(ARGV[i + 1])
end
if #quotas == 0 then
  return { DONE, 0 }
end
-- One call for each hash: Redis keeps a small hash as a list, and walks it for each field it is asked for.
local present = redis.call('HMGET', capacity_key, unpack(quotas))
local free = redis.call('HMGET', remaining_key, unpack(quotas))

local refusal, changed = { BELOW_TAKEN }, {}
for i, quota in ipairs(quotas) do
  local more = seats[i] - tonumber(present[i] or 0)
  if tonumber(free[i] or 0) + more < 0 then
    refusal[#refusal + 1] = quota
    refusal[#refusal + 1] = tonumber(present[i]) - tonumber(free[i])
  elseif more ~= 0 or not present[i] then
    changed[#changed + 1] = i
  end
end
if #refusal > 1 then
  return refusal
end
if #changed == 0 then
  return { DONE, 0 }
end

local capacities, remainings, zeros = {}, {}, {}
for _, i in ipairs(changed) do
  local quota, more = quotas[i], seats[i] - tonumber(present[i] or 0)
  capacities[#capacities + 1] = quota
  capacities[#capacities + 1] = seats[i]
  remainings[#remainings + 1] = quota
  remainings[#remainings + 1] = tonumber(free[i] or 0) + more
  if not present[i] then
    zeros[#zeros + 1] = quota
    zeros[#zeros + 1] = 0
  end
end
redis.call('HSET', capacity_key, unpack(capacities))
redis.call('HSET', remaining_key, unpack(remainings))
if #zeros > 0 then
  redis.call('HSET', held_key, unpack(zeros))
  redis.call('HSET', confirming_key, unpack(zeros))
  redis.call('HSET', confirmed_key, unpack(zeros))
end
for _, i in ipairs(changed) do
  append(version_key, journal_key, fence, by, 'capacity', quotas[i], now_ms, seats[i])
end
return { DONE, #changed }
