-- seats: moves the seats of records between the counters of their quotas. Free seats of a quota are
-- in `remaining`, on open sale, in `returned`, where they wait for the next allocation, or in `aside`.
-- A seat that is not in `remaining` has its place under the ceiling of its venue and session, where
-- there is one. What a step moves is gathered, and written once at its end.

-- Moves one seat at the venue for each subject of the record from one counter to another: both are
-- counters of taken seats.
local function move_seats(record, venue, from_key, to_key)
  for _, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota = venue .. '/' .. subject
    redis.call('HINCRBY', from_key, quota, -1)
    redis.call('HINCRBY', to_key, quota, 1)
  end
end

-- The moves of a step, by the rules of the definition in force.
local function begin_moves(definition_key)
  local rules = redis.call('HMGET', definition_key, 'returned', 'ceilings')
  return {
    rule = rules[1], has_ceilings = rules[2] ~= false, is_wanted = {}, has_ceiling = {},
    remaining = {}, returned = {}, aside = {}, aside_left = {}, code_uses = {}, ceiling_left = {},
    held = {}, confirming = {}, confirmed = {},
  }
end

local function count_seats(counts, field, more)
  counts[field] = (counts[field] or 0) + more
end

-- True where the seats of a venue in a session have a ceiling.
local function has_ceiling(moves, place, ceiling_left_key)
  if not moves.has_ceilings then
    return false
  end
  if moves.has_ceiling[place] == nil then
    moves.has_ceiling[place] = redis.call('HEXISTS', ceiling_left_key, place) == 1
  end
  return moves.has_ceiling[place]
end

-- True when a seat of a quota that comes back waits for the next allocation. Under a ceiling its
-- place may be what an entry for another subject of the session waits for.
local function waits_for_allocation(moves, venue, subject, session, wanted_key)
  if moves.rule ~= 'list-first' then
    return moves.rule == 'at-times'
  end
  local quota = venue .. '/' .. subject
  if moves.is_wanted[quota] == nil then
    moves.is_wanted[quota] = redis.call('HEXISTS', wanted_key, quota) == 1
      or (moves.has_ceilings and session ~= ''
        and redis.call('HEXISTS', wanted_key, venue .. '//' .. session) == 1)
  end
  return moves.is_wanted[quota]
end

-- The set-aside and the code that the seats of a record are from; nil for seats of open sale.
local function set_aside_of(record)
  if (record[SET_ASIDE] or '') == '' then
    return nil
  end
  return string.match(record[SET_ASIDE], '^([^:]*):?(.*)$')
end

-- Seats of a quota that are on open sale after the moves so far: those under the ceiling, where its
-- session has one there.
local function seats_on_sale(moves, quota, place, remaining_key, ceiling_left_key)
  local seats = tonumber(redis.call('HGET', remaining_key, quota) or 0) + (moves.remaining[quota] or 0)
  if has_ceiling(moves, place, ceiling_left_key) then
    local left = tonumber(redis.call('HGET', ceiling_left_key, place))
    seats = math.min(seats, left + (moves.ceiling_left[place] or 0))
  end
  return seats
end

-- Takes a seat for each subject of the record at a venue: of its set-aside while that is on, else on
-- open sale. `of_sale` is true for seats on open sale, whatever the record's are from.
local function take_seats(moves, record, venue, to, of_sale, aside_left_key, ceiling_left_key)
  local set_aside, code
  if not of_sale then
    set_aside, code = set_aside_of(record)
  end
  if set_aside and code ~= '' then
    count_seats(moves.code_uses, code, 1)
  end
  local sessions = split(record[SESSIONS], ',')
  for i, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota, place = venue .. '/' .. subject, venue .. '/' .. sessions[i]
    local field = set_aside and set_aside .. '/' .. quota
    count_seats(moves[to], quota, 1)
    if field and redis.call('HEXISTS', aside_left_key, field) == 1 then
      count_seats(moves.aside, quota, -1)
      count_seats(moves.aside_left, field, -1)
    else
      count_seats(moves.remaining, quota, -1)
      if has_ceiling(moves, place, ceiling_left_key) then
        count_seats(moves.ceiling_left, place, -1)
      end
    end
  end
end

-- Gives the seats of a record at a venue back: to its set-aside while that is on, else by the rule of
-- the exam. `of_sale` is true for seats that were taken from open sale, whatever the record's are from.
local function give_seats_back(moves, record, venue, from, of_sale, wanted_key, aside_left_key,
    ceiling_left_key)
  local set_aside, code
  if not of_sale then
    set_aside, code = set_aside_of(record)
  end
  if set_aside and code ~= '' then
    count_seats(moves.code_uses, code, -1)
  end
  local sessions = split(record[SESSIONS], ',')
  for i, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota, place = venue .. '/' .. subject, venue .. '/' .. sessions[i]
    local field = set_aside and set_aside .. '/' .. quota
    count_seats(moves[from], quota, -1)
    if field and redis.call('HEXISTS', aside_left_key, field) == 1 then
      count_seats(moves.aside, quota, 1)
      count_seats(moves.aside_left, field, 1)
    elseif waits_for_allocation(moves, venue, subject, sessions[i], wanted_key) then
      count_seats(moves.returned, quota, 1)
    else
      count_seats(moves.remaining, quota, 1)
      if has_ceiling(moves, place, ceiling_left_key) then
        count_seats(moves.ceiling_left, place, 1)
      end
    end
  end
end

-- Writes the counts of one counter.
local function add_up(counter_key, counts)
  for field, more in pairs(counts) do
    if more ~= 0 then
      redis.call('HINCRBY', counter_key, field, more)
    end
  end
end

-- Does so for a counter that has only fields above 0; answers what was written, as `field=count,…`.
local function add_up_above_zero(counter_key, counts)
  local written = {}
  for field, more in pairs(counts) do
    if more ~= 0 then
      local now = redis.call('HINCRBY', counter_key, field, more)
      if now < 1 then
        redis.call('HDEL', counter_key, field)
      end
      written[#written + 1] = field .. '=' .. math.max(now, 0)
    end
  end
  return table.concat(written, ',')
end

-- Writes what was moved between the pools of free seats; answers what the journal tells of those that
-- wait for the next allocation.
local function write_pools(moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key,
    ceiling_left_key)
  add_up(remaining_key, moves.remaining)
  add_up(aside_key, moves.aside)
  add_up(aside_left_key, moves.aside_left)
  add_up_above_zero(code_uses_key, moves.code_uses)
  add_up(ceiling_left_key, moves.ceiling_left)
  return add_up_above_zero(returned_key, moves.returned)
end

-- Frees the candidate's sessions, each only if this reservation takes it.
local function free_sessions(record, claims_key, serial)
  for _, session in ipairs(split(record[SESSIONS], ',')) do
    local claim = record[CANDIDATE] .. '/' .. session
    if redis.call('HGET', claims_key, claim) == serial then
      redis.call('HDEL', claims_key, claim)
    end
  end
end
