#!lua flags=allow-oom
-- room_statistics: counts a waiting room for its admission, after it has removed the places whose
-- time is over and the reports of processes that are gone. After the opening it closes the draw.
-- Why atomic: who is inside, who waits, whether registration is open and by which clock belong to one
-- moment, and a place that is taken up again must not be removed by who saw it idle.
-- It may run when Redis is full: it removes, and writes one field, once.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   definition   the definition in force
-- KEYS[3] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
-- KEYS[4] string drawn        HyperLogLog of the candidates in the draw
-- KEYS[5] zset   places       candidate by the time (ms) the place is free again
-- KEYS[6] hash   passes       candidate -> the last pass
-- KEYS[7] hash   signals      process -> time (ms) of its report|the report
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] age after which a report is forgotten, ms
--
-- Returns {DONE, clock (ms), revision of the definition, opening (ms), end (ms), live places,
--          claims there ever were, candidates who claimed, candidates in the draw,
--          epoch of the numbers or '', last number or '', {process, age (ms), report, …}}
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include opening
-- @include places

local epoch_key, definition_key, room_key, drawn_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local places_key, passes_key, signals_key = KEYS[5], KEYS[6], KEYS[7]
local fence, age_ms = ARGV[1], tonumber(ARGV[2])
-- Places removed in one call; further ones are not counted and are removed by the calls after it.
local PLACES_MAX = 500

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local opens_at_ms, closes_at_ms, idle_ms, _, entries_close_ms = times_in_force(definition_key)
if not opens_at_ms then
  return { NOT_READY }
end
if draw_is_closed(room_key, opens_at_ms, entries_close_ms, now_ms) then
  close_draw(room_key)
end
-- No place is idle before registration was open for as long as one may be, nor in a pause.
local idle_by = '-inf'
if now_ms >= places_from_ms(definition_key, opens_at_ms) + idle_ms and now_ms < closes_at_ms then
  idle_by = now_ms
end
local over = math.min(redis.call('ZCOUNT', places_key, '-inf', idle_by), PLACES_MAX)
if over > 0 then
  redis.call('ZREMRANGEBYRANK', places_key, 0, over - 1)
end
local live = redis.call('ZCOUNT', places_key, '(' .. idle_by, '+inf')
local reports, gone = {}, {}
local stored = redis.call('HGETALL', signals_key)
for i = 1, #stored, 2 do
  local bar = string.find(stored[i + 1], '|', 1, true)
  local old_ms = now_ms - tonumber(string.sub(stored[i + 1], 1, bar - 1))
  if math.abs(old_ms) > age_ms then
    gone[#gone + 1] = stored[i]
  else
    reports[#reports + 1] = stored[i]
    reports[#reports + 1] = old_ms
    reports[#reports + 1] = string.sub(stored[i + 1], bar + 1)
  end
end
if #gone > 0 then
  redis.call('HDEL', signals_key, unpack(gone))
end
local numbers = redis.call('HMGET', room_key, 'epoch', 'last', 'claims')
local revision = tonumber(redis.call('HGET', definition_key, 'revision'))
return {
  DONE, now_ms, revision, opens_at_ms, closes_at_ms, live, tonumber(numbers[3] or 0),
  redis.call('HLEN', passes_key), redis.call('PFCOUNT', drawn_key), numbers[1] or '',
  numbers[2] or '', reports,
}
