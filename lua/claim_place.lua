#!lua
-- claim_place: gives a candidate at its turn a place, or answers the place that it has.
-- Why atomic: a ticket must not be used twice, nor give a candidate two places, and none is let in
-- while registration is not open.
-- The tickets of a candidate are in order: one that was used spends all before it.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   definition   the definition in force
-- KEYS[3] hash   passes       candidate -> ticket|pass expiry (ms)|epoch
-- KEYS[4] zset   places       candidate by the time (ms) the place is free again
-- KEYS[5] zset   queue        candidate by number, until its turn has passed
-- KEYS[6] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] candidate
-- ARGV[3] ticket: its number in the queue, 0 for the draw
-- ARGV[4] passed: 1 when the turn of the ticket has passed, else 0
--
-- Returns {DONE, ticket, expires (ms), epoch}         claimed now, and when the pass ends
--         {DONE_BEFORE, ticket, expires (ms), epoch}  the place the candidate has
--         {TICKET_USED}                               its place was finished or idle
--         {TURN_PASSED}
--         {NOT_OPEN, opening (ms)}                    no candidate is admitted yet, or for now
--         {CLOSED, end (ms)}                          registration is over
--         {STALE}                                     the exam is paused, which the caller does not know
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include opening
-- @include places

local epoch_key, definition_key = KEYS[1], KEYS[2]
local passes_key, places_key, queue_key, room_key = KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local fence, candidate, ticket = ARGV[1], ARGV[2], tonumber(ARGV[3])
local passed = ARGV[4]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local opens_at_ms, closes_at_ms, idle_ms, life_ms = times_in_force(definition_key)
if not opens_at_ms then
  return { NOT_READY }
end
if now_ms < opens_at_ms then
  return { NOT_OPEN, opens_at_ms }
end
if now_ms >= closes_at_ms then
  return { CLOSED, closes_at_ms }
end
local from_ms = places_from_ms(definition_key, opens_at_ms)
if from_ms == math.huge then
  return { STALE }
end
local used = used_ticket(passes_key, candidate)
if used and has_place(places_key, candidate, from_ms, idle_ms, now_ms) then
  -- A pass that ran out while the opening was postponed, or in a pause, is good for its whole life after it.
  local expires_ms = math.max(used[PASS_EXPIRES_MS], from_ms + life_ms)
  return { DONE_BEFORE, used[USED_TICKET], expires_ms, used[PASS_EPOCH] }
end
if used and used[USED_TICKET] >= ticket then
  return { TICKET_USED }
end
if passed == '1' then
  return { TURN_PASSED }
end
-- One wait, one place: a claim uses both tickets of a candidate in the draw who took a number too.
ticket = math.max(ticket, tonumber(redis.call('ZSCORE', queue_key, candidate) or 0))
local expires_ms = now_ms + life_ms
remember_ticket(passes_key, candidate, ticket, expires_ms, epoch_of(fence))
keep_place(places_key, candidate, idle_ms, expires_ms, now_ms)
redis.call('HINCRBY', room_key, 'claims', 1)
return { DONE, ticket, expires_ms, tonumber(epoch_of(fence)) }
