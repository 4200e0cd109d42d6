#!lua flags=allow-oom
-- ceilings: sets how many seats a venue has in a session over all its subjects; all those named or none.
-- Why atomic: a lower ceiling is only right while enough seats under it are free.
-- Every seat that is not remaining has its place under the ceiling: what is left is its seats without those.
-- Seats that a higher ceiling puts on open sale wait for the next allocation where the rule for seats
-- that come back says so.
-- It may run when Redis is full: it writes a few fields, and a recovery may need it.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[6] stream journal      one entry a step
-- KEYS[7] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[8] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[9] hash   definition   the definition in force
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] each ceiling: venue/session, its seats or '' where it has no ceiling any more, count of its
--         quotas, then these quotas
--
-- Returns {DONE, count changed}
--         {BELOW_TAKEN, venue/session, seats taken, …}   every ceiling that cannot be so low so far
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ceiling_left_key, journal_key = KEYS[5], KEYS[6]
local returned_key, wanted_key, definition_key = KEYS[7], KEYS[8], KEYS[9]
local fence, by = ARGV[1], ARGV[2]
local FIXED_ARGS = 2

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local refusal, changed = { BELOW_TAKEN }, {}
local at = FIXED_ARGS + 1
while ARGV[at] do
  local ceiling, seats, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local left = redis.call('HGET', ceiling_left_key, ceiling)
  local wanted = nil
  if seats ~= '' then
    local taken = 0
    if count > 0 then
      local capacity = redis.call('HMGET', capacity_key, unpack(ARGV, at + 3, at + 2 + count))
      local remaining = redis.call('HMGET', remaining_key, unpack(ARGV, at + 3, at + 2 + count))
      for i = 1, count do
        taken = taken + tonumber(capacity[i] or 0) - tonumber(remaining[i] or 0)
      end
    end
    wanted = tonumber(seats) - taken
    if wanted < 0 then
      refusal[#refusal + 1] = ceiling
      refusal[#refusal + 1] = taken
    end
  end
  if wanted ~= tonumber(left or nil) then
    changed[#changed + 1] = {
      ceiling = ceiling, seats = seats, left = wanted, before = left and tonumber(left),
      at = at + 3, count = count,
    }
  end
  at = at + 3 + count
end
if #refusal > 1 then
  return refusal
end

-- Lets seats wait that a higher ceiling puts on open sale: as many as there are more places than before.
local moves = begin_moves(definition_key)
local is_before = now_ms < tonumber(redis.call('HGET', definition_key, 'opens_at_ms') or 0)
local function let_wait(each)
  local more = each.left - math.max(each.before, 0)
  local venue, session = string.match(each.ceiling, '^(.*)/(.*)$')
  for i = each.at, each.at + each.count - 1 do
    local quota = ARGV[i]
    local subject = string.match(quota, '/(.*)$')
    local free = math.min(more, tonumber(redis.call('HGET', remaining_key, quota) or 0))
    if free > 0 and waits_for_allocation(moves, venue, subject, session, wanted_key) then
      count_seats(moves.remaining, quota, -free)
      count_seats(moves.returned, quota, free)
      more = more - free
      each.left = each.left - free
    end
  end
end

for _, each in ipairs(changed) do
  if each.before and each.left and not is_before then
    let_wait(each)
  end
end
add_up(remaining_key, moves.remaining)
local returned = add_up_above_zero(returned_key, moves.returned)
for n, each in ipairs(changed) do
  if each.left then
    redis.call('HSET', ceiling_left_key, each.ceiling, each.left)
  else
    redis.call('HDEL', ceiling_left_key, each.ceiling)
  end
  append(version_key, journal_key, fence, by, 'ceilings', each.ceiling, now_ms, each.seats,
    n == #changed and returned or '')
end
return { DONE, #changed }
