-- places: the places of candidates whom the waiting room has let in.
local USED_TICKET, PASS_EXPIRES_MS, PASS_EPOCH = 1, 2, 3

-- The parts of a pass: its ticket, when it ends (ms) and the epoch it was given under.
local function read_pass(text)
  local ticket, expires_ms, pass_epoch = string.match(text, '^(%d+)|(%d+)|(%d+)$')
  return { tonumber(ticket), tonumber(expires_ms), tonumber(pass_epoch) }
end

-- The pass of the last ticket a candidate has used; nil when none was ever used.
local function used_ticket(passes_key, candidate)
  local text = redis.call('HGET', passes_key, candidate)
  return text and read_pass(text)
end

-- Remembers that a candidate has used a ticket, and with it all before it.
local function remember_ticket(passes_key, candidate, ticket, expires_ms, pass_epoch)
  local text = string.format('%.0f|%.0f|%.0f', ticket, expires_ms, pass_epoch)
  redis.call('HSET', passes_key, candidate, text)
end

-- From when on places can be idle (ms): from the opening, or from the end of the last pause of the
-- exam on; math.huge while it is paused, as no candidate can use a place then.
local function places_from_ms(definition_key, opens_at_ms)
  local found = redis.call('HMGET', definition_key, 'is_paused', 'resumed_at_ms')
  return found[1] and math.huge or math.max(opens_at_ms, tonumber(found[2] or 0))
end

-- When a place is free (ms), by what `places` holds. Places are idle only while registration is open:
-- one that was given before the opening was postponed, or before a pause, is kept until it was idle
-- after it.
local function place_ends_ms(stored_ms, from_ms, idle_ms)
  return math.max(tonumber(stored_ms), from_ms + idle_ms)
end

-- True while a candidate has a place: it was not finished, and was used not long ago.
local function has_place(places_key, candidate, from_ms, idle_ms, now_ms)
  local stored_ms = redis.call('ZSCORE', places_key, candidate)
  return stored_ms and place_ends_ms(stored_ms, from_ms, idle_ms) > now_ms
end

-- Keeps a place for a candidate until it is idle for too long, or until the pass ends.
local function keep_place(places_key, candidate, idle_ms, expires_ms, now_ms)
  redis.call('ZADD', places_key, math.min(now_ms + idle_ms, expires_ms), candidate)
end
