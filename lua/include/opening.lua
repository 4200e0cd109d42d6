-- opening: the times a waiting room goes by, and when its draw is closed.

-- When registration opens and closes, the idle time after which a place is free and the life of a
-- pass (ms), by the definition in force; nil where there is none yet. Then when the entries of a draw
-- with a source close, nil where it has none.
local function times_in_force(definition_key)
  local times = redis.call('HMGET', definition_key,
    'opens_at_ms', 'closes_at_ms', 'idle_ms', 'pass_ttl_ms', 'entries_close_at_ms')
  return tonumber(times[1]), tonumber(times[2]), tonumber(times[3] or 0), tonumber(times[4] or 0),
    tonumber(times[5])
end

-- True once an opening has passed, or the time at which entries close. The draw then stays closed,
-- also if that is postponed.
local function draw_is_closed(room_key, opens_at_ms, entries_close_ms, now_ms)
  return now_ms >= math.min(opens_at_ms, entries_close_ms or opens_at_ms)
    or redis.call('HGET', room_key, 'draw_closed') == '1'
end

-- Closes the draw for good.
local function close_draw(room_key)
  redis.call('HSETNX', room_key, 'draw_closed', '1')
end
