#!lua flags=allow-oom
-- count_room: counts a waiting room in Redis, and closes its draw once an opening has passed, or the time
-- at which the entries of a draw with a source close.
-- Why atomic: a time in the past stays there, so the step that sees it must close the draw.
-- The seed of a draw may be shown once Postgres knows that it is closed here.
-- It may run when Redis is full: it writes one field, once.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   definition   the definition in force
-- KEYS[3] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
-- KEYS[4] string drawn        HyperLogLog of the candidates in the draw
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] closed: 1 when Postgres knows the draw to be closed, else 0
--
-- Returns {DONE, last number or -1 when none counts under this epoch, drawn, opening (ms), end (ms),
--          1 when the draw is closed, else 0}
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include opening

local epoch_key, definition_key, room_key, drawn_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence, closed = ARGV[1], ARGV[2]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local opens_at_ms, closes_at_ms, _, _, entries_close_ms = times_in_force(definition_key)
if not opens_at_ms then
  return { NOT_READY }
end
local room = redis.call('HMGET', room_key, 'epoch', 'last')
local last = room[1] == epoch_of(fence) and tonumber(room[2]) or -1
local is_closed = closed == '1' or draw_is_closed(room_key, opens_at_ms, entries_close_ms, clock_ms())
if is_closed then
  close_draw(room_key)
end
local drawn = redis.call('PFCOUNT', drawn_key)
return { DONE, last, drawn, opens_at_ms, closes_at_ms, is_closed and 1 or 0 }
