#!lua
-- restore: puts a hold back that was acknowledged and then lost with its journal entry, as the
-- process that acknowledged it remembers it.
-- Why atomic: it takes seats and sessions like a reservation does.
-- Walks: (none) -> held, held -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] string record       the reservation's record
--
-- ARGV[1] epoch the caller knows
-- ARGV[2] serial of the reservation
-- ARGV[3] text of its record as it was acknowledged
--
-- Returns {DONE, record}         held again, or under the later deadline it was promised
--         {DONE_BEFORE, record}  nothing of it was lost, or it has moved on
--         {ENDED}                its time is over
--         {SOLD_OUT}             a seat is gone
--         {SESSION_CONFLICT}     another reservation stands in a session
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key, record_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local epoch, serial, text = ARGV[1], ARGV[2], ARGV[3]

if not is_open(epoch_key, epoch) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local told = split(text, '|')
local standing = read_record(record_key)
local is_later = standing and standing[STATE] == 'held' and standing[VENUE] == told[VENUE]
  and tonumber(standing[DUE_MS]) < tonumber(told[DUE_MS])
if standing and not is_later then
  return { DONE_BEFORE, record_text(standing) }
end
if tonumber(told[DUE_MS]) <= now_ms then
  return { ENDED }
end

local quotas, claims, claim_pairs = {}, {}, {}
if not standing then
  for i, subject in ipairs(split(told[SUBJECTS], ',')) do
    quotas[i] = told[VENUE] .. '/' .. subject
  end
  for i, session in ipairs(split(told[SESSIONS], ',')) do
    claims[i] = told[CANDIDATE] .. '/' .. session
    claim_pairs[2 * i - 1], claim_pairs[2 * i] = claims[i], serial
  end
  for _, seats in ipairs(redis.call('HMGET', remaining_key, unpack(quotas))) do
    if tonumber(seats or 0) < 1 then
      return { SOLD_OUT }
    end
  end
  for _, other in ipairs(redis.call('HMGET', claims_key, unpack(claims))) do
    if other then
      return { SESSION_CONFLICT }
    end
  end
end

for _, quota in ipairs(quotas) do
  redis.call('HINCRBY', remaining_key, quota, -1)
  redis.call('HINCRBY', held_key, quota, 1)
end
if not standing then
  redis.call('HSET', claims_key, unpack(claim_pairs))
end
write_record(record_key, told)
redis.call('ZADD', due_key, told[DUE_MS], serial)
append(version_key, journal_key, epoch, 'restore', serial, now_ms, text)
return { DONE, text }
