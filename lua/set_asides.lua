#!lua flags=allow-oom
-- set_asides: sets how many seats of quotas are kept for groups, and raises the capacity of these quotas
-- in the same step, so that seats that come for a group are never on sale.
-- Why atomic: seats for a group are taken from those that are free, and given back by the rule of the exam.
-- The seats of a set-aside are those left in it and those that reservations have from it.
-- It may run when Redis is full: it writes a few fields, and a recovery needs it.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats on open sale
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
-- KEYS[8] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[9] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[10] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[11] hash   aside_seats  set-aside/venue/subject -> seats kept for it, while it is on
-- KEYS[12] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[13] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[14] hash   definition   the definition in force
-- KEYS[15] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] exact: 1 for all or nothing, 0 for as near as free and used seats let it
-- ARGV[3] by: who asked, <key id>/<request id>
-- ARGV[4] each quota: venue/subject, its capacity in seats or '' where it stays, count of set-asides, then
--         the id of each and its seats
--
-- Returns {DONE, count of quotas changed}
--         {BELOW_TAKEN, set-aside/venue/subject, seats used, …}   every set-aside that cannot be so small
--         {SOLD_OUT, venue/subject, seats free, …}                every quota with too few free seats
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key, returned_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local aside_key, aside_left_key, aside_seats_key, ceiling_left_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local wanted_key, definition_key, journal_key = KEYS[13], KEYS[14], KEYS[15]
local fence, exact, by = ARGV[1], ARGV[2], ARGV[3]
local FIXED_ARGS = 3

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local moves = begin_moves(definition_key)
local is_before = now_ms < tonumber(redis.call('HGET', definition_key, 'opens_at_ms') or 0)
local too_small, too_few, changed = { BELOW_TAKEN }, { SOLD_OUT }, {}

local function number_at(key, field)
  return tonumber(redis.call('HGET', key, field) or 0)
end

-- Seats that are free under the ceiling of a place after the moves so far; nil where it has none.
local function room_at(place)
  if not has_ceiling(moves, place, ceiling_left_key) then
    return nil
  end
  return number_at(ceiling_left_key, place) + (moves.ceiling_left[place] or 0)
end

-- The set-asides of a quota as they are to be: what each has left now and will have, and what is used.
local function set_asides_at(quota, at, count)
  local found = {}
  for i = 1, count do
    local field = ARGV[at + 2 * i - 2] .. '/' .. quota
    local seats, left = number_at(aside_seats_key, field), number_at(aside_left_key, field)
    local used = seats - left
    local wanted = tonumber(ARGV[at + 2 * i - 1]) - used
    if wanted < 0 then
      too_small[#too_small + 1] = field
      too_small[#too_small + 1] = used
      wanted = 0
    end
    found[i] = { field = field, before = seats, used = used, left = left, wanted = wanted }
  end
  return found
end

-- Lets set-asides have so many seats less in all: first those that grow, then any. More than they grow
-- by is lacking only where a recovery has found more seats of a quota booked than are on sale.
local function have_less(found, lacking)
  for _, least in ipairs({ 'left', 'none' }) do
    for _, each in ipairs(found) do
      local less = math.min(lacking, math.max(0, each.wanted - (each[least] or 0)))
      each.wanted, lacking = each.wanted - less, lacking - less
    end
  end
end

local function more_in_all(found)
  local more = 0
  for _, each in ipairs(found) do
    more = more + each.wanted - each.left
  end
  return more
end

-- Decides the moves of one quota.
local function decide(quota, capacity_text, found)
  local present = redis.call('HGET', capacity_key, quota)
  local before = tonumber(present or 0)
  local capacity = math.max(before, tonumber(capacity_text) or before)
  local venue, subject = string.match(quota, '^(.*)/(.*)$')
  local session = moves.has_ceilings and redis.call('HGET', definition_key, 'session/' .. subject) or ''
  local place = venue .. '/' .. session
  local room = room_at(place)
  local free = number_at(remaining_key, quota) + capacity - before
  if room then
    free = math.min(free, room)
  end
  local more = more_in_all(found)
  if more > free then
    too_few[#too_few + 1] = quota
    too_few[#too_few + 1] = free
    have_less(found, more - free)
    more = more_in_all(found)
  end
  -- What is new and not kept comes as other seats do: on sale, or to wait for the next allocation.
  local rest, waits = capacity - before - more, 0
  if rest > 0 and present and not is_before
      and waits_for_allocation(moves, venue, subject, session, wanted_key) then
    waits = room and math.max(math.min(rest, room - more), 0) or rest
  end
  count_seats(moves.aside, quota, more)
  count_seats(moves.returned, quota, waits)
  count_seats(moves.remaining, quota, rest - waits)
  if room then
    count_seats(moves.ceiling_left, place, -more - waits)
  end
  local has_changed = capacity ~= before or not present
  for _, each in ipairs(found) do
    each.is_new = redis.call('HEXISTS', aside_seats_key, each.field) == 0
    has_changed = has_changed or each.is_new or each.wanted ~= each.left
    count_seats(moves.aside_left, each.field, each.wanted - each.left)
  end
  if has_changed then
    changed[#changed + 1] = { quota = quota, capacity = capacity, is_new = not present, set_asides = found }
  end
end

local at = FIXED_ARGS + 1
while ARGV[at] do
  local count = tonumber(ARGV[at + 2])
  decide(ARGV[at], ARGV[at + 1], set_asides_at(ARGV[at], at + 3, count))
  at = at + 3 + 2 * count
end
if exact == '1' and #too_small > 1 then
  return too_small
end
if exact == '1' and #too_few > 1 then
  return too_few
end

for _, each in ipairs(changed) do
  redis.call('HSET', capacity_key, each.quota, each.capacity)
  if each.is_new then
    redis.call('HSET', held_key, each.quota, 0)
    redis.call('HSET', confirming_key, each.quota, 0)
    redis.call('HSET', confirmed_key, each.quota, 0)
    redis.call('HSETNX', remaining_key, each.quota, 0)
  end
  for _, set_aside in ipairs(each.set_asides) do
    redis.call('HSETNX', aside_left_key, set_aside.field, 0)
    redis.call('HSET', aside_seats_key, set_aside.field, set_aside.wanted + set_aside.used)
  end
end
add_up(remaining_key, moves.remaining)
add_up(aside_key, moves.aside)
add_up(aside_left_key, moves.aside_left)
add_up(ceiling_left_key, moves.ceiling_left)
local returned = add_up_above_zero(returned_key, moves.returned)
for n, each in ipairs(changed) do
  append(version_key, journal_key, fence, by, 'set_asides', each.quota, now_ms, each.capacity,
    n == #changed and returned or '')
end
return { DONE, #changed }
