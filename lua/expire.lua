#!lua flags=allow-oom
-- expire: gives back the holds of a batch that are due.
-- The batch is read, decided and written as a whole, as `reserve` does.
-- Why atomic: whether a hold is still unpaid and due is checked in the step that gives it back, so
-- any number of workers may call this with the same serials.
-- It may run when Redis is full: it frees more than it writes.
-- The work of one call is bounded: what is left of the batch stays due, for the next.
-- Transitions: held -> expired.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] set    spent        serials of reservations that have ended
-- KEYS[9] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[10] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[11] string record       the record of each serial, one key a serial
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] the serials, in the order of their records
--
-- Returns {DONE, count expired, largest lag behind the due time (ms)} or {NOT_READY}.
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local spent_key, unpaid_key, key_held_key = KEYS[8], KEYS[9], KEYS[10]
local fence, by = ARGV[1], ARGV[2]
local FIXED_KEYS, FIXED_ARGS = 10, 2
-- Seats given back in one call, after which no further hold is looked at.
local SEATS_MAX = 250
-- Records read in one call to Redis, and serials taken out of the index in one.
local PAGE_MAX = 250

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local largest_lag_ms = 0

-- What is to be written once everything is decided.
local ended, ended_serials, is_ended, unindexed = {}, {}, {}, {}
local seats_back, quota_seats, key_counts = 0, {}, {}
local claims, claim_serials, candidates, unpaid_ends = {}, {}, {}, {}

-- Takes down a hold that ends now.
local function take_down(record, due_ms, at, serial)
  local candidate = record[CANDIDATE]
  for subject in string.gmatch(record[SUBJECTS], '[^,]+') do
    local quota = record[VENUE] .. '/' .. subject
    quota_seats[quota] = (quota_seats[quota] or 0) + 1
    seats_back = seats_back + 1
  end
  count_for_key(key_counts, record, record[VENUE], -1)
  for session in string.gmatch(record[SESSIONS], '[^,]+') do
    claims[#claims + 1] = candidate .. '/' .. session
    claim_serials[#claims] = serial
  end
  if not unpaid_ends[candidate] then
    unpaid_ends[candidate] = { 0, 0 }
    candidates[#candidates + 1] = candidate
  end
  local ends = unpaid_ends[candidate]
  ends[UNPAID_COUNT] = ends[UNPAID_COUNT] + 1
  ends[UNPAID_LAST_MS] = math.max(ends[UNPAID_LAST_MS], due_ms)
  record[STATE] = 'expired'
  ended[#ended + 1] = { at = at, record = record }
  ended_serials[#ended], is_ended[serial] = serial, true
  unindexed[#unindexed + 1] = serial
end

-- Decides about one serial, which may be in the batch twice; a record without a due time is torn,
-- and keeps no other hold from ending.
local function decide(text, at, serial)
  local record = text and fields_of(text)
  if not record or record[STATE] ~= 'held' then
    unindexed[#unindexed + 1] = serial
    return
  end
  local due_ms = tonumber(record[DUE_MS])
  if due_ms and due_ms <= now_ms and not is_ended[serial] then
    largest_lag_ms = math.max(largest_lag_ms, now_ms - due_ms)
    take_down(record, due_ms, at, serial)
  end
end

for from = 1, #KEYS - FIXED_KEYS, PAGE_MAX do
  local to = math.min(from + PAGE_MAX - 1, #KEYS - FIXED_KEYS)
  local texts = redis.call('MGET', unpack(KEYS, FIXED_KEYS + from, FIXED_KEYS + to))
  for i = from, to do
    if seats_back < SEATS_MAX then
      decide(texts[i - from + 1], i, ARGV[FIXED_ARGS + i])
    end
  end
  if seats_back >= SEATS_MAX then
    break
  end
end

-- The writes, few for the whole batch.
for from = 1, #unindexed, PAGE_MAX do
  local to = math.min(from + PAGE_MAX - 1, #unindexed)
  redis.call('ZREM', due_key, unpack(unindexed, from, to))
end
if #ended == 0 then
  return { DONE, 0, 0 }
end

for quota, seats in pairs(quota_seats) do
  redis.call('HINCRBY', held_key, quota, -seats)
  redis.call('HINCRBY', remaining_key, quota, seats)
end
write_key_counts(key_held_key, key_counts)

-- A session is freed only where this reservation takes it.
local holders, freed = redis.call('HMGET', claims_key, unpack(claims)), {}
for i, claim in ipairs(claims) do
  if holders[i] == claim_serials[i] then
    freed[#freed + 1] = claim
  end
end
if #freed > 0 then
  redis.call('HDEL', claims_key, unpack(freed))
end

local unpaid_texts, unpaid_pairs = redis.call('HMGET', unpaid_key, unpack(candidates)), {}
for i, candidate in ipairs(candidates) do
  local before, ends = read_unpaid(unpaid_texts[i]), unpaid_ends[candidate]
  unpaid_pairs[2 * i - 1], unpaid_pairs[2 * i] = candidate, unpaid_field(
    before[UNPAID_COUNT] + ends[UNPAID_COUNT],
    math.max(before[UNPAID_LAST_MS], ends[UNPAID_LAST_MS])
  )
end
redis.call('HSET', unpaid_key, unpack(unpaid_pairs))

redis.call('SADD', spent_key, unpack(ended_serials))
local version = redis.call('INCRBY', version_key, #ended) - #ended
for n, hold in ipairs(ended) do
  local text = keep_ended(KEYS[FIXED_KEYS + hold.at], hold.record)
  append_as(version + n, journal_key, fence, by, 'expire', ended_serials[n], now_ms, text)
end
return { DONE, #ended, largest_lag_ms }
