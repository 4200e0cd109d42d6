#!lua flags=allow-oom
-- close_set_aside: gives what is left of a set-aside back by the rule of the exam, for good.
-- Why atomic: its seats are in the set-aside or among the others, never in both.
-- Seats that reservations have from it come back by the rule of the exam from then on.
-- It may run when Redis is full: it removes more than it writes.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats on open sale
-- KEYS[4] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[5] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[6] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[7] hash   aside_seats  set-aside/venue/subject -> seats kept for it, while it is on
-- KEYS[8] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[9] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[10] hash   definition   the definition in force
-- KEYS[11] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] set_aside: its id
-- ARGV[4] each quota of it: venue/subject
--
-- Returns {DONE, seats that were left}
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats

local epoch_key, version_key, remaining_key, returned_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local aside_key, aside_left_key, aside_seats_key = KEYS[5], KEYS[6], KEYS[7]
local ceiling_left_key, wanted_key, definition_key, journal_key = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local fence, by, set_aside = ARGV[1], ARGV[2], ARGV[3]
local FIXED_ARGS = 3

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()
local moves, closed, seats = begin_moves(definition_key), {}, 0
local is_before = now_ms < tonumber(redis.call('HGET', definition_key, 'opens_at_ms') or 0)
for i = FIXED_ARGS + 1, #ARGV do
  local quota = ARGV[i]
  local field = set_aside .. '/' .. quota
  local left = tonumber(redis.call('HGET', aside_left_key, field) or nil)
  if left then
    local venue, subject = string.match(quota, '^(.*)/(.*)$')
    local session = moves.has_ceilings and redis.call('HGET', definition_key, 'session/' .. subject) or ''
    count_seats(moves.aside, quota, -left)
    if not is_before and waits_for_allocation(moves, venue, subject, session, wanted_key) then
      count_seats(moves.returned, quota, left)
    else
      count_seats(moves.remaining, quota, left)
      if has_ceiling(moves, venue .. '/' .. session, ceiling_left_key) then
        count_seats(moves.ceiling_left, venue .. '/' .. session, left)
      end
    end
    seats = seats + left
    closed[#closed + 1] = { field = field, quota = quota, left = left }
  end
end
if #closed == 0 then
  return { DONE, 0 }
end

for _, each in ipairs(closed) do
  redis.call('HDEL', aside_left_key, each.field)
  redis.call('HDEL', aside_seats_key, each.field)
end
add_up(remaining_key, moves.remaining)
add_up(aside_key, moves.aside)
add_up(ceiling_left_key, moves.ceiling_left)
local returned = add_up_above_zero(returned_key, moves.returned)
for n, each in ipairs(closed) do
  append(version_key, journal_key, fence, by, 'close_set_aside', each.quota, now_ms,
    set_aside .. '=' .. each.left, n == #closed and returned or '')
end
return { DONE, seats }
