#!lua
-- load: writes reservations into a shard that is being rebuilt from Postgres.
-- Why atomic: seats, claims and record of a reservation must be there together; and a rebuild that
-- was overtaken by another must not write into it.
-- The shard is not open: nobody else reads or writes it. What was being paid is a hold again, kept
-- for the payment to be told once more. A hold that does not fit any more has expired: its seats or
-- its session went to a booking whose steps were lost. Bookings are loaded before holds.
-- Walks: confirming -> held, held -> expired, confirming -> expired.
--
-- KEYS[1] string building     the epoch under which the shard is being rebuilt
-- KEYS[2] hash   remaining    venue/subject -> seats
-- KEYS[3] hash   held         venue/subject -> seats
-- KEYS[4] hash   confirmed    venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] string version      counts the shard's steps
-- KEYS[8] stream journal      one entry a step
-- KEYS[9] string record       the record of each reservation, one key a reservation
--
-- ARGV[1] epoch the shard is being rebuilt under
-- ARGV[2] grace of what was being paid, ms from now
-- ARGV[3] each reservation: serial, then its record
--
-- Returns {DONE, serial of a hold that does not fit, …}
--         {NOT_READY}                not being rebuilt under this epoch
-- @include codes
-- @include shard
-- @include record
-- @include journal

local building_key, remaining_key, held_key, confirmed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, version_key, journal_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local epoch, grace_ms = ARGV[1], tonumber(ARGV[2])
local FIXED_KEYS, FIXED_ARGS = 8, 2

if not is_open(building_key, epoch) then
  return { NOT_READY }
end

local now_ms = clock_ms()

local function names(record)
  local quotas, claims = {}, {}
  for i, subject in ipairs(split(record[SUBJECTS], ',')) do
    quotas[i] = record[VENUE] .. '/' .. subject
  end
  for i, session in ipairs(split(record[SESSIONS], ',')) do
    claims[i] = record[CANDIDATE] .. '/' .. session
  end
  return quotas, claims
end

local function fits(quotas, claims)
  for _, seats in ipairs(redis.call('HMGET', remaining_key, unpack(quotas))) do
    if tonumber(seats or 0) < 1 then
      return false
    end
  end
  for _, standing in ipairs(redis.call('HMGET', claims_key, unpack(claims))) do
    if standing then
      return false
    end
  end
  return true
end

local function hold(record_key, record, serial, quotas, claims)
  for i, quota in ipairs(quotas) do
    redis.call('HINCRBY', remaining_key, quota, -1)
    redis.call('HINCRBY', held_key, quota, 1)
    redis.call('HSET', claims_key, claims[i], serial)
  end
  write_record(record_key, record)
end

-- Most of what is loaded is booked: its seats and claims are gathered, and written at the end.
local booked_seats, booked_claims = {}, {}

local function load_booked(record_key, serial, text)
  local candidate, venue, subjects, sessions =
    string.match(text, '^confirmed|([^|]*)|([^|]*)|([^|]*)|([^|]*)|')
  for subject in string.gmatch(subjects, '[^,]+') do
    local quota = venue .. '/' .. subject
    booked_seats[quota] = (booked_seats[quota] or 0) + 1
  end
  for session in string.gmatch(sessions, '[^,]+') do
    booked_claims[#booked_claims + 1] = candidate .. '/' .. session
    booked_claims[#booked_claims + 1] = serial
  end
  redis.call('SET', record_key, text)
end

local function write_booked()
  for quota, seats in pairs(booked_seats) do
    redis.call('HINCRBY', remaining_key, quota, -seats)
    redis.call('HINCRBY', confirmed_key, quota, seats)
  end
  for from = 1, #booked_claims, 2000 do
    local to = math.min(from + 1999, #booked_claims)
    redis.call('HSET', claims_key, unpack(booked_claims, from, to))
  end
end

-- Loads one reservation; false when it is a hold that does not fit any more.
local function load_one(record_key, serial, text)
  if string.sub(text, 1, 10) == 'confirmed|' then
    load_booked(record_key, serial, text)
    return true
  end
  local record = split(text, '|')
  local state = record[STATE]
  if state ~= 'held' and state ~= 'confirming' then
    write_ended_record(record_key, record)
    return true
  end
  local quotas, claims = names(record)
  if not fits(quotas, claims) then
    record[STATE] = 'expired'
    local ended = write_ended_record(record_key, record)
    append(version_key, journal_key, epoch, 'expire', serial, now_ms, ended)
    return false
  end
  if state == 'confirming' then
    record[STATE] = 'held'
    record[PIN] = ''
    record[PINNED_MS] = 0
    record[DUE_MS] = math.max(tonumber(record[DUE_MS]), now_ms + grace_ms)
    append(version_key, journal_key, epoch, 'unpin', serial, now_ms, record_text(record))
  end
  hold(record_key, record, serial, quotas, claims)
  redis.call('ZADD', due_key, record[DUE_MS], serial)
  return true
end

local answer = { DONE }
for i = 1, #KEYS - FIXED_KEYS do
  local serial, text = ARGV[FIXED_ARGS + 2 * i - 1], ARGV[FIXED_ARGS + 2 * i]
  if not load_one(KEYS[FIXED_KEYS + i], serial, text) then
    answer[#answer + 1] = serial
  end
end
write_booked()
return answer
