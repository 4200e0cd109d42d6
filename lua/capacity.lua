#!lua flags=allow-oom
-- capacity: sets how many seats quotas have, all of those named or none.
-- Seats that come to a quota go by the rule for seats that come back; those that a new quota has are on
-- open sale, unless somebody waits for them. Seats that a quota loses are those on open sale, then those
-- that wait for the next allocation.
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
-- KEYS[9] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[10] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[11] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[12] hash   definition   the definition in force
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
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key, journal_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local returned_key, ceiling_left_key, wanted_key, definition_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
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
local waiting = redis.call('HMGET', returned_key, unpack(quotas))

local refusal, changed = { BELOW_TAKEN }, {}
for i, quota in ipairs(quotas) do
  local more = seats[i] - tonumber(present[i] or 0)
  local untaken = tonumber(free[i] or 0) + tonumber(waiting[i] or 0)
  if untaken + more < 0 then
    refusal[#refusal + 1] = quota
    refusal[#refusal + 1] = tonumber(present[i]) - untaken
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

-- Before registration opens no seat has come back yet, and none is waited for.
local moves, capacities, zeros = begin_moves(definition_key), {}, {}
local is_before = now_ms < tonumber(redis.call('HGET', definition_key, 'opens_at_ms') or 0)

-- How many of the seats that come to a quota wait for the next allocation: so many as have a place
-- under the ceiling.
local function to_wait(quota, more)
  local venue, subject = string.match(quota, '^(.*)/(.*)$')
  local session = moves.has_ceilings and redis.call('HGET', definition_key, 'session/' .. subject) or ''
  if is_before or not waits_for_allocation(moves, venue, subject, session, wanted_key) then
    return 0
  end
  local place = venue .. '/' .. session
  if has_ceiling(moves, place, ceiling_left_key) then
    local left = tonumber(redis.call('HGET', ceiling_left_key, place)) + (moves.ceiling_left[place] or 0)
    more = math.min(more, math.max(left, 0))
    count_seats(moves.ceiling_left, place, -more)
  end
  return more
end

-- Takes seats away of those that wait for the next allocation.
local function take_waiting(quota, less)
  local venue, subject = string.match(quota, '^(.*)/(.*)$')
  count_seats(moves.returned, quota, -less)
  local session = moves.has_ceilings and redis.call('HGET', definition_key, 'session/' .. subject) or ''
  if has_ceiling(moves, venue .. '/' .. session, ceiling_left_key) then
    count_seats(moves.ceiling_left, venue .. '/' .. session, less)
  end
end

for _, i in ipairs(changed) do
  local quota, more = quotas[i], seats[i] - tonumber(present[i] or 0)
  capacities[#capacities + 1] = quota
  capacities[#capacities + 1] = seats[i]
  if not present[i] then
    -- With the rule at-times those of a new quota do not wait: an exam may be opened after its time.
    local waits = moves.rule == 'list-first' and to_wait(quota, more) or 0
    count_seats(moves.returned, quota, waits)
    count_seats(moves.remaining, quota, more - waits)
    zeros[#zeros + 1] = quota
    zeros[#zeros + 1] = 0
  elseif more > 0 then
    local waits = to_wait(quota, more)
    count_seats(moves.returned, quota, waits)
    count_seats(moves.remaining, quota, more - waits)
  else
    local of_sale = math.min(-more, tonumber(free[i]))
    count_seats(moves.remaining, quota, -of_sale)
    if of_sale < -more then
      take_waiting(quota, -more - of_sale)
    end
  end
end
redis.call('HSET', capacity_key, unpack(capacities))
if #zeros > 0 then
  redis.call('HSET', remaining_key, unpack(zeros))
  redis.call('HSET', held_key, unpack(zeros))
  redis.call('HSET', confirming_key, unpack(zeros))
  redis.call('HSET', confirmed_key, unpack(zeros))
end
add_up(remaining_key, moves.remaining)
add_up(ceiling_left_key, moves.ceiling_left)
local returned = add_up_above_zero(returned_key, moves.returned)
for n, i in ipairs(changed) do
  append(version_key, journal_key, fence, by, 'capacity', quotas[i], now_ms, seats[i],
    n == #changed and returned or '')
end
return { DONE, #changed }
