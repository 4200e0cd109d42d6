#!lua flags=no-writes
-- waiting: reads how much of a shard waits for a worker, and for how long the oldest of it does.
-- Why a script: ages are by Redis's clock, read in the same step.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] zset   due          serial by the time (ms) it may expire
-- KEYS[3] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[4] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, attempts, journal entries, age of the oldest overdue hold, of the oldest attempt, of the
-- oldest entry}, ages in ms, 0 when there is none; or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, due_key, pinned_key, journal_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence = ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()

-- A time that lies ahead, of a hold that is not due or by a clock that was set back, has no age.
local function age_ms(since_ms)
  return math.max(0, now_ms - (tonumber(since_ms) or now_ms))
end

local due = redis.call('ZRANGE', due_key, 0, 0, 'WITHSCORES')
local attempts = redis.call('ZRANGE', pinned_key, 0, 0, 'WITHSCORES')
local entry = redis.call('XRANGE', journal_key, '-', '+', 'COUNT', 1)[1]
local appended_ms
if entry then
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'at' then
      appended_ms = fields[i + 1]
    end
  end
end
return {
  DONE, redis.call('ZCARD', pinned_key), redis.call('XLEN', journal_key),
  age_ms(due[2]), age_ms(attempts[2]), age_ms(appended_ms),
}
