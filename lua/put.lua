#!lua flags=allow-oom
-- put: writes reservations as Postgres has them into a shard that is recovered, each in the place
-- of the old one: an existing record gives back its seats, then the new one takes its own.
-- Why atomic: seats, claims and record of a reservation must change together; and a recovery that
-- was overtaken by another must not write into what the other is at.
-- The shard is not open: only the recovery uses it. A payment that was being recorded is given
-- up: Postgres did not book it, and cannot any more under its epoch. Its hold stays for the payment
-- to be sent again, unless it had expired before.
-- With `fit` 1, for an empty shard, a hold that has no seats or no session any more expires: they
-- went to a booking whose steps were lost; bookings are put before holds. With 0 nothing is checked
-- here, since a later reservation may give back what an earlier one takes.
-- Holds that ended unpaid are counted as the records change. With `fit` 1 those that come as ended
-- are not: Postgres has counted them (`put_unpaid`). One that is spent, and whose record is gone after
-- its day, was counted before.
-- It may run when Redis is full: a shard that cannot be opened frees nothing.
-- Transitions: confirming -> held, held -> expired, confirming -> expired.
--
-- KEYS[1]  string epoch        the shard's epoch and run
-- KEYS[2]  string version      counts the shard's steps
-- KEYS[3]  hash   remaining    venue/subject -> seats
-- KEYS[4]  hash   held         venue/subject -> seats
-- KEYS[5]  hash   confirming   venue/subject -> seats
-- KEYS[6]  hash   confirmed    venue/subject -> seats
-- KEYS[7]  hash   claims       candidate/session -> serial
-- KEYS[8]  zset   due          serial by the time (ms) it may expire
-- KEYS[9]  zset   pinned       serial by the time (ms) its attempt began
-- KEYS[10] stream journal      one entry a step
-- KEYS[11] set    spent        serials of reservations that have ended
-- KEYS[12] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[13] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[14] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[15] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[16] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[17] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[18] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[19] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[20] hash   definition   the definition in force
-- KEYS[21] string record       the record of each reservation, one key a reservation
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
-- ARGV[2] fit: 1 when holds that do not fit expire, 0 when nothing is checked
-- ARGV[3] by: who asked, <key id>/<request id>
-- ARGV[4] each reservation: serial, the grace of its payment that is given up (ms from now), record
--
-- Returns {DONE, serial of a hold that does not fit, …}
--         {NOT_READY}                another recovery has the shard
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local confirming_key, confirmed_key, claims_key, due_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local pinned_key, journal_key, spent_key, unpaid_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local key_held_key = KEYS[13]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[14], KEYS[15], KEYS[16], KEYS[17]
local ceiling_left_key, wanted_key, definition_key = KEYS[18], KEYS[19], KEYS[20]
local fence, fit, by = ARGV[1], ARGV[2], ARGV[3]
local FIXED_KEYS, FIXED_ARGS = 20, 3
-- Arguments of one call to Redis at most; even, as they may be pairs. Lua's stack holds some 8,000.
local CALL_MAX = 4000

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local stored = redis.call('MGET', unpack(KEYS, FIXED_KEYS + 1, #KEYS))

-- Seats and claims are gathered, and written at the end: few calls for the whole batch. No seat waits
-- for the next allocation before the recovery says so.
local moves, claimed, key_held, live = begin_moves(definition_key), {}, {}, {}
moves.rule, moves.has_ceilings = nil, redis.call('HLEN', ceiling_left_key) > 0

local function take(record, venue, to, is_open)
  take_seats(moves, record, venue, to, is_open, aside_left_key, ceiling_left_key)
end

local function untake(record, venue, from, is_open)
  give_seats_back(moves, record, venue, from, is_open, wanted_key, aside_left_key, ceiling_left_key)
end

local function claims_of(record)
  local claims = {}
  for session in string.gmatch(record[SESSIONS], '[^,]+') do
    claims[#claims + 1] = record[CANDIDATE] .. '/' .. session
  end
  return claims
end

-- The reservation in a session, this batch included; false when there is none.
local function holder_of(claim)
  local serial = claimed[claim]
  if serial == nil then
    serial = redis.call('HGET', claims_key, claim)
  end
  return serial
end

local function give_back(record, serial)
  local state = record[STATE]
  if state == 'held' then
    untake(record, record[VENUE], 'held', false)
    count_for_key(key_held, record, record[VENUE], -1)
    redis.call('ZREM', due_key, serial)
  elseif state == 'confirming' then
    untake(record, record[VENUE], 'confirming', false)
    redis.call('ZREM', pinned_key, serial)
  elseif state == 'confirmed' then
    untake(record, record[VENUE], 'confirmed', false)
  elseif state == 'changing_venue' then
    untake(record, record[VENUE], 'confirmed', false)
    untake(record, record[TO_VENUE], 'confirming', true)
    redis.call('ZREM', pinned_key, serial)
  else
    return
  end
  for _, claim in ipairs(claims_of(record)) do
    if holder_of(claim) == serial then
      claimed[claim] = false
    end
  end
end

local function fits(record)
  if fit == '0' then
    return true
  end
  local set_aside, sessions = set_aside_of(record), split(record[SESSIONS], ',')
  for i, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota, place = record[VENUE] .. '/' .. subject, record[VENUE] .. '/' .. sessions[i]
    local field = set_aside and set_aside .. '/' .. quota
    local left = field and redis.call('HGET', aside_left_key, field)
    local seats = left and tonumber(left) + (moves.aside_left[field] or 0)
      or seats_on_sale(moves, quota, place, remaining_key, ceiling_left_key)
    if seats < 1 then
      return false
    end
  end
  for _, claim in ipairs(claims_of(record)) do
    if holder_of(claim) then
      return false
    end
  end
  return true
end

-- Counts the change of a reservation: `before` is its old record, nil for none.
local function count_end(record, before, serial)
  local is_unpaid = has_ended_unpaid(record)
  if before and has_ended_unpaid(before) then
    if not is_unpaid then
      count_unpaid(unpaid_key, record, -1)
    end
  elseif is_unpaid and redis.call('SISMEMBER', spent_key, serial) == 0 then
    count_unpaid(unpaid_key, record, 1)
  end
end

-- Puts one reservation; false when it is a hold that does not fit any more.
local function put_one(record_key, serial, grace_ms, text, text_before)
  local before = text_before and fields_of(text_before)
  if before then
    give_back(before, serial)
  end
  local record = fields_of(text)
  local state = record[STATE]
  local has_expired = state == 'confirming' and record[DUE_MS] == '0'
  if has_expired or ((state == 'held' or state == 'confirming') and not fits(record)) then
    record[STATE], record[ATTEMPT], record[ATTEMPT_BEGAN_MS] = 'expired', '', 0
    record[DUE_MS] = has_expired and record[DEADLINE_MS] or math.min(tonumber(record[DUE_MS]), now_ms)
    count_end(record, before, serial)
    local ended = write_ended_record(record_key, record, spent_key, serial)
    append(version_key, journal_key, fence, by, has_expired and 'unpin' or 'expire', serial, now_ms, ended)
    return has_expired
  end
  if fit == '0' then
    count_end(record, before, serial)
  end
  if state == 'held' or state == 'confirming' then
    if state == 'confirming' then
      record[STATE], record[ATTEMPT], record[ATTEMPT_BEGAN_MS] = 'held', '', 0
      record[DUE_MS] = math.max(tonumber(record[DUE_MS]), now_ms + grace_ms)
      append(version_key, journal_key, fence, by, 'unpin', serial, now_ms, record_text(record))
    end
    take(record, record[VENUE], 'held', false)
    count_for_key(key_held, record, record[VENUE], 1)
    redis.call('ZADD', due_key, record[DUE_MS], serial)
  elseif state == 'confirmed' then
    take(record, record[VENUE], 'confirmed', false)
  else
    write_ended_record(record_key, record, spent_key, serial)
    return true
  end
  for _, claim in ipairs(claims_of(record)) do
    claimed[claim] = serial
  end
  write_record(record_key, record)
  live[#live + 1] = serial
  return true
end

local answer = { DONE }
for i = 1, #KEYS - FIXED_KEYS do
  local at = FIXED_ARGS + 3 * i
  local serial, grace_ms, text = ARGV[at - 2], tonumber(ARGV[at - 1]), ARGV[at]
  if not put_one(KEYS[FIXED_KEYS + i], serial, grace_ms, text, stored[i]) then
    answer[#answer + 1] = serial
  end
end

write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
add_up(held_key, moves.held)
add_up(confirming_key, moves.confirming)
add_up(confirmed_key, moves.confirmed)
write_key_counts(key_held_key, key_held)
if #live > 0 then
  redis.call('SREM', spent_key, unpack(live))
end
local claim_pairs, freed = {}, {}
for claim, serial in pairs(claimed) do
  if serial then
    claim_pairs[#claim_pairs + 1] = claim
    claim_pairs[#claim_pairs + 1] = serial
  else
    freed[#freed + 1] = claim
  end
end
for from = 1, #claim_pairs, CALL_MAX do
  redis.call('HSET', claims_key, unpack(claim_pairs, from, math.min(from + CALL_MAX - 1, #claim_pairs)))
end
for from = 1, #freed, CALL_MAX do
  redis.call('HDEL', claims_key, unpack(freed, from, math.min(from + CALL_MAX - 1, #freed)))
end
return answer
