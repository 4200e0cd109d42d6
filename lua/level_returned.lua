#!lua flags=allow-oom
-- level_returned: sets how many seats of quotas wait for the next allocation, as far as seats are free:
-- by a recovery as Postgres knows them, and to none once an exam's rule is that they go on sale at once.
-- Why atomic: a seat moves between two counters, and its place under the ceiling with it.
-- The journal tells of every quota that is named, also where no seat of it moves: Postgres may know more of
-- them than there are.
-- It may run when Redis is full: it only moves what is there.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[5] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[6] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] each quota: venue/subject, venue/session of its ceiling or '', and the seats that are to wait
--
-- Returns {DONE, count of quotas changed} or {NOT_READY}.
-- @include codes
-- @include shard
-- @include journal

local epoch_key, version_key, remaining_key, returned_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ceiling_left_key, journal_key = KEYS[5], KEYS[6]
local fence, by = ARGV[1], ARGV[2]
local FIXED_ARGS, WORDS = 2, 3

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms, changed = clock_ms(), 0

-- How many more seats are to wait: not more than remain, nor than there are places for.
local function more_of(quota, place, wanted)
  local present = tonumber(redis.call('HGET', returned_key, quota) or 0)
  local free = math.max(0, tonumber(redis.call('HGET', remaining_key, quota) or 0))
  local left = place ~= '' and redis.call('HGET', ceiling_left_key, place)
  if left then
    free = math.min(free, math.max(0, tonumber(left)))
  end
  return math.min(wanted - present, free), present, left
end

for at = FIXED_ARGS + 1, #ARGV, WORDS do
  local quota, place, wanted = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local more, present, left = more_of(quota, place, wanted)
  append(version_key, journal_key, fence, by, 'open', quota, now_ms, -more, quota .. '=' .. present + more)
  if more ~= 0 then
    changed = changed + 1
    redis.call('HINCRBY', remaining_key, quota, -more)
    if left then
      redis.call('HINCRBY', ceiling_left_key, place, -more)
    end
    if present + more > 0 then
      redis.call('HSET', returned_key, quota, present + more)
    else
      redis.call('HDEL', returned_key, quota)
    end
  end
end
return { DONE, changed }
