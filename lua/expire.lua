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
-- KEYS[11] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[12] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[13] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[14] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[15] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[16] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[17] hash   definition   the definition in force
-- KEYS[18] string record       the record of each serial, one key a serial
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
-- @include seats
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local spent_key, unpaid_key, key_held_key = KEYS[8], KEYS[9], KEYS[10]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local ceiling_left_key, wanted_key, definition_key = KEYS[15], KEYS[16], KEYS[17]
local fence, by = ARGV[1], ARGV[2]
local FIXED_KEYS, FIXED_ARGS = 17, 2
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
local seats_back, moves, key_counts = 0, begin_moves(definition_key), {}
local claims, claim_serials, candidates, unpaid_ends = {}, {}, {}, {}

-- Takes down a hold that ends now.
local function take_down(record, due_ms, at, serial)
  local candidate = record[CANDIDATE]
  give_seats_back(moves, record, record[VENUE], 'held', false, wanted_key, aside_left_key, ceiling_left_key)
  count_for_key(key_counts, record, record[VENUE], -1)
  for session in string.gmatch(record[SESSIONS], '[^,]+') do
    seats_back = seats_back + 1
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

add_up(held_key, moves.held)
local returned = write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
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
  -- The first tells of all of them: where only some are drained before Redis is lost, seats wait
  -- rather than go on sale.
  if n == 1 and returned ~= '' then
    append_as(version + n, journal_key, fence, by, 'expire', ended_serials[n], now_ms, text,
      'returned', returned)
  else
    append_as(version + n, journal_key, fence, by, 'expire', ended_serials[n], now_ms, text)
  end
end
return { DONE, #ended, largest_lag_ms }
