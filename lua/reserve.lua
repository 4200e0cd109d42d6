#!lua
-- reserve: takes the seats of a batch of requests; each gets all its subjects at the first of its
-- venues that has them, or nothing.
-- The batch is read, decided and written as a whole, which takes a third of the calls to Redis that
-- one request after the other would.
-- Why atomic: the session check, the choice of venue, the counters, the hold and its journal entry
-- must be one step, or two candidates could be given one seat.
-- Transitions: (none) -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] hash   passes       candidate -> last ticket used|pass expiry (ms)|epoch
-- KEYS[9] zset   places       candidate by the time (ms) the place is free again
-- KEYS[10] set    spent       serials of reservations that have ended
-- KEYS[11] hash   unpaid      candidate -> holds that ended unpaid|last end (ms)
-- KEYS[12] hash   definition  the definition in force
-- KEYS[13] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[14] hash   capacity     venue/subject -> seats released so far
-- KEYS[15] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[16] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[17] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[18] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[19] string record       the record of each request, one key a request
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] registration opens, ms since the Unix epoch
-- ARGV[3] registration closes, ms since the Unix epoch
-- ARGV[4] hold ttl, ms
-- ARGV[5] expiry slack, ms
-- ARGV[6] fee of one subject, minor units
-- ARGV[7] currency, ISO 4217
-- ARGV[8] idle time after which a place of the waiting room is free, ms
-- ARGV[9] budget: a number of holds of a candidate, that may end unpaid without a pause
-- ARGV[10] first pause of a candidate, ms; each further hold that ends unpaid doubles it
-- ARGV[11] longest pause of a candidate, ms
-- ARGV[12] revision of the definition the caller goes by
-- ARGV[13] share: of a hundred seats, how many the unpaid holds of one API key have at most
-- ARGV[14] each request: serial, candidate, request hash, pass of the waiting room as
--         ticket|expiry (ms)|epoch or '' where none is needed, count of subjects, count of venues,
--         then the subjects, the session of each, the venues in order of choice,
--         who asked, <key id>/<request id>, and the order of venues as it was asked for, joined by
--         commas, which goes into the journal entry, or '' where it is one venue; last the set-aside
--         whose seats are asked for, as id:code:uses of the code at most, '' for open sale; the code
--         may be ''
--
-- Returns {DONE, answer of each request}, an answer being
--   {DONE, record, version}             held now
--   {DONE_BEFORE, record}               the same request was held before; its record as it is now
--   {KEY_REUSED}                        the id belongs to another request
--   {ENDED}                             the id belongs to an ended reservation without a record
--   {NOT_OPEN} {CLOSED}                 outside the registration window
--   {SESSION_STARTED}                   the first sitting of the order has begun
--   {PASS_ENDED}                        the place of the pass was finished or idle
--   {SESSION_CONFLICT, session, serial} another reservation of the candidate takes the session
--   {UNPAID_PAUSE, ends (ms), holds}    so many of the candidate's holds ended unpaid
--   {SHARE_USED}                        the API key has all the unpaid seats it may, where some are left
--   {SET_ASIDE_OVER}                    the set-aside has no seats of these quotas, or has ended
--   {CODE_USED}                         the code has been used as often as it may
--   {SOLD_OUT, remaining…}              what is left, venue by venue, subject by subject
-- or {STALE}: another definition is in force than the caller knows; or {NOT_READY}.
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal
-- @include places
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local passes_key, places_key, spent_key, unpaid_key = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local definition_key, key_held_key, capacity_key = KEYS[12], KEYS[13], KEYS[14]
local aside_key, aside_left_key, code_uses_key, ceiling_left_key = KEYS[15], KEYS[16], KEYS[17], KEYS[18]
local fence = ARGV[1]
local opens_at_ms, closes_at_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local ttl_ms, slack_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local fee, currency = tonumber(ARGV[6]), ARGV[7]
local idle_ms, revision = tonumber(ARGV[8]), ARGV[12]
local share = tonumber(ARGV[13])
local budget, pause_ms, longest_ms = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local FIXED_KEYS, FIXED_ARGS = 18, 13
-- Arguments of one call to Redis at most; even, as they may be pairs. Lua's stack holds some 8,000.
local CALL_MAX = 4000

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local rules = redis.call('HMGET', definition_key, 'revision', 'ceilings')
if rules[1] ~= revision then
  return { STALE }
end
local has_ceilings = rules[2] ~= false

-- Times are made text once: turning a number into text costs as much as a look-up.
local function whole(number)
  return string.format('%d', number)
end
local now_ms = clock_ms()
local now_text, deadline = whole(now_ms), whole(now_ms + ttl_ms)
local due = whole(now_ms + ttl_ms + slack_ms)
local count = #KEYS - FIXED_KEYS

-- The requests: one table each, with the positions in ARGV of its subjects, sessions and venues.
local requests, claim_names, candidates, with_pass = {}, {}, {}, {}
local at = FIXED_ARGS + 1
for n = 1, count do
  local subjects, venues = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local request = {
    serial = ARGV[at], candidate = ARGV[at + 1], hash = ARGV[at + 2],
    subjects = subjects, venues = venues,
    subjects_at = at + 5, sessions_at = at + 5 + subjects, venues_at = at + 5 + 2 * subjects,
    claims = {}, pass_text = ARGV[at + 3], by = ARGV[at + 6 + 2 * subjects + venues],
    order = ARGV[at + 7 + 2 * subjects + venues], seats_from = '',
  }
  local set_aside_text = ARGV[at + 8 + 2 * subjects + venues]
  if set_aside_text ~= '' then
    local set_aside, code, uses_max = string.match(set_aside_text, '^([^:]*):([^:]*):([^:]*)$')
    request.set_aside, request.code, request.uses_max = set_aside, code, tonumber(uses_max)
    request.seats_from = set_aside .. ':' .. code
  end
  if request.pass_text ~= '' then
    request.pass = read_pass(request.pass_text)
    with_pass[#with_pass + 1] = request.candidate
  end
  for i = 1, subjects do
    local claim = request.candidate .. '/' .. ARGV[request.sessions_at + i]
    request.claims[i] = claim
    claim_names[#claim_names + 1] = claim
  end
  requests[n] = request
  candidates[n] = request.candidate
  at = at + 9 + 2 * subjects + venues
end

-- The state now: read for the whole batch at once, and updated as requests are decided.
local texts = redis.call('MGET', unpack(KEYS, FIXED_KEYS + 1, #KEYS))
local standing, made, left = {}, {}, {}
local serials = {}
for n = 1, count do
  serials[n] = requests[n].serial
end
local spent = redis.call('SMISMEMBER', spent_key, unpack(serials))
for from = 1, #claim_names, CALL_MAX do
  local to = math.min(from + CALL_MAX - 1, #claim_names)
  local holders = redis.call('HMGET', claims_key, unpack(claim_names, from, to))
  for i = from, to do
    standing[claim_names[i]] = holders[i - from + 1]
  end
end

local unpaid_texts = redis.call('HMGET', unpaid_key, unpack(candidates))

local used_passes, free_ms = {}, {}
if #with_pass > 0 then
  local texts_used = redis.call('HMGET', passes_key, unpack(with_pass))
  local free = redis.call('ZMSCORE', places_key, unpack(with_pass))
  local from_ms = places_from_ms(definition_key, opens_at_ms)
  for i, candidate in ipairs(with_pass) do
    used_passes[candidate] = texts_used[i] and read_pass(texts_used[i])
    free_ms[candidate] = free[i] and place_ends_ms(free[i], from_ms, idle_ms) or 0
  end
end

-- True while the place of a pass is kept. One that Redis has forgotten, since it was given under
-- an epoch before this one, is taken up again.
local function is_kept(candidate, pass)
  if pass[PASS_EXPIRES_MS] <= now_ms then
    return false
  end
  local used = used_passes[candidate]
  if used and used[USED_TICKET] >= pass[USED_TICKET] then
    return used[USED_TICKET] == pass[USED_TICKET] and free_ms[candidate] > now_ms
  end
  return pass[PASS_EPOCH] < tonumber(epoch_of(fence))
end

-- When the pause of a candidate ends (ms), of whose holds so many have ended unpaid; 0 for none.
local function pause_end_ms(unpaid)
  local beyond = unpaid[UNPAID_COUNT] - budget
  if beyond < 0 then
    return 0
  end
  return unpaid[UNPAID_LAST_MS] + math.min(pause_ms * 2 ^ beyond, longest_ms)
end

-- Seats left under the ceiling of a venue in a session; math.huge where it has none.
local place_left, places_taken = {}, {}
local function seats_under_ceiling(place)
  local seats = place_left[place]
  if not seats then
    seats = tonumber(redis.call('HGET', ceiling_left_key, place) or math.huge)
    place_left[place] = seats
  end
  return seats
end

local function seats_left(quota)
  local seats = left[quota]
  if not seats then
    seats = tonumber(redis.call('HGET', remaining_key, quota) or 0)
    left[quota] = seats
  end
  return seats
end

-- Seats left of a quota in a set-aside, and the uses of a code; nil where there is none.
local aside_found, uses = {}, {}
local function found_once(found, key, field)
  if found[field] == nil then
    found[field] = tonumber(redis.call('HGET', key, field) or -1)
  end
  return found[field]
end

-- What is to be written once everything is decided.
local taken, taken_quotas = {}, {}
local held_more, aside_taken, aside_less, code_more = {}, {}, {}, {}
-- Seats taken by quota, for each API key.
local key_taken = {}
local record_pairs, claim_pairs, due_pairs, entries = {}, {}, {}, {}
local place_pairs, pass_pairs = {}, {}
-- When the first sitting begins of each choice of subjects in the batch.
local sittings = {}

-- The arguments of a list, joined by commas.
local function joined(before, length)
  if length == 1 then
    return ARGV[before + 1]
  end
  return table.concat(ARGV, ',', before + 1, before + length)
end

-- True when the unpaid holds of a key have all the seats they may of one of the quotas.
local function has_used_share(key_id, quotas)
  if share >= 100 then
    return false
  end
  local by_quota = key_taken[key_id] or {}
  for _, quota in ipairs(quotas) do
    local more = by_quota[quota] or 0
    if is_share_used(key_held_key, capacity_key, key_id, quota, share, more) then
      return true
    end
  end
  return false
end

-- The first venue of a request that has all its seats, and their quotas; nil and the refusal where
-- there is none. Seats of a set-aside are asked for with a code, or by ops without one.
local function find_venue(request, key_id)
  local set_aside, code = request.set_aside, request.code
  if code and code ~= '' and math.max(found_once(uses, code_uses_key, code), 0) >= request.uses_max then
    return nil, { CODE_USED }
  end
  local refusal, share_used = { SOLD_OUT }, false
  local is_on = not set_aside
  for v = 1, request.venues do
    local wanted, has_all = {}, true
    for i = 1, request.subjects do
      local quota = ARGV[request.venues_at + v] .. '/' .. ARGV[request.subjects_at + i]
      local seats
      if set_aside then
        seats = found_once(aside_found, aside_left_key, set_aside .. '/' .. quota)
        is_on, seats = is_on or seats >= 0, math.max(seats, 0)
      else
        seats = seats_left(quota)
        if has_ceilings then
          local place = ARGV[request.venues_at + v] .. '/' .. ARGV[request.sessions_at + i]
          seats = math.max(0, math.min(seats, seats_under_ceiling(place)))
        end
      end
      wanted[i] = quota
      has_all = has_all and seats > 0
      refusal[#refusal + 1] = seats
    end
    if has_all and not set_aside and has_used_share(key_id, wanted) then
      has_all, share_used = false, true
    end
    if has_all then
      return ARGV[request.venues_at + v], wanted
    end
  end
  if not is_on then
    return nil, { SET_ASIDE_OVER }
  end
  return nil, share_used and { SHARE_USED } or refusal
end

-- Counts the seats that a request takes, those of its API key, its sessions and the use of its code.
local function count_taken(request, venue, quotas, key_id)
  local set_aside, code = request.set_aside, request.code
  local by_quota = key_taken[key_id]
  if not by_quota and key_id ~= '' then
    by_quota = {}
    key_taken[key_id] = by_quota
  end
  for i = 1, request.subjects do
    local quota, claim = quotas[i], request.claims[i]
    if not taken[quota] then
      taken[quota], held_more[quota] = 0, 0
      taken_quotas[#taken_quotas + 1] = quota
    end
    held_more[quota] = held_more[quota] + 1
    if set_aside then
      local field = set_aside .. '/' .. quota
      aside_found[field] = aside_found[field] - 1
      aside_taken[field] = (aside_taken[field] or 0) + 1
      aside_less[quota] = (aside_less[quota] or 0) + 1
    else
      taken[quota], left[quota] = taken[quota] + 1, left[quota] - 1
    end
    if has_ceilings and not set_aside then
      local place = venue .. '/' .. ARGV[request.sessions_at + i]
      place_left[place] = place_left[place] - 1
      places_taken[place] = (places_taken[place] or 0) + 1
    end
    if by_quota then
      by_quota[quota] = (by_quota[quota] or 0) + 1
    end
    standing[claim] = request.serial
    claim_pairs[#claim_pairs + 1] = claim
    claim_pairs[#claim_pairs + 1] = request.serial
  end
  if set_aside and code ~= '' then
    uses[code] = math.max(uses[code], 0) + 1
    code_more[code] = (code_more[code] or 0) + 1
  end
end

-- A hold ends when the first sitting of its order begins, if not before.
local function decide(request, record_key, text_before, is_spent, unpaid_text)
  local before = made[record_key] or text_before
  if before then
    if split(before, '|')[REQUEST_HASH] ~= request.hash then
      return { KEY_REUSED }
    end
    return { DONE_BEFORE, before }
  end
  if is_spent == 1 then
    return { ENDED }
  end
  if now_ms < opens_at_ms then
    return { NOT_OPEN }
  end
  if now_ms >= closes_at_ms then
    return { CLOSED }
  end
  local subjects_text = joined(request.subjects_at, request.subjects)
  local sitting_ms = sittings[subjects_text]
  if not sitting_ms then
    sitting_ms = first_sitting_ms(definition_key, split(subjects_text, ','))
    sittings[subjects_text] = sitting_ms
  end
  if now_ms >= sitting_ms then
    return { SESSION_STARTED }
  end
  if request.pass and not is_kept(request.candidate, request.pass) then
    return { PASS_ENDED }
  end
  for i = 1, request.subjects do
    local serial = standing[request.claims[i]]
    if serial then
      return { SESSION_CONFLICT, ARGV[request.sessions_at + i], serial }
    end
  end
  if unpaid_text then
    local unpaid = read_unpaid(unpaid_text)
    local ends_ms = pause_end_ms(unpaid)
    if ends_ms > now_ms then
      return { UNPAID_PAUSE, ends_ms, unpaid[UNPAID_COUNT] }
    end
  end

  local key_id = string.sub(request.by, 1, (string.find(request.by, '/', 1, true) or 1) - 1)
  local venue, quotas = find_venue(request, key_id)
  if not venue then
    return quotas
  end
  count_taken(request, venue, quotas, key_id)
  local ends, due_at = deadline, due
  if sitting_ms < now_ms + ttl_ms then
    ends, due_at = whole(sitting_ms), whole(sitting_ms + slack_ms)
  end
  local text = record_text({
    'held', request.candidate, venue,
    joined(request.subjects_at, request.subjects), joined(request.sessions_at, request.subjects),
    whole(fee * request.subjects), currency, now_text, ends, ends, due_at,
    '0', '0', '', '0', request.hash, '', venue, '0', key_id,
    request.seats_from,
  })
  made[record_key] = text
  record_pairs[#record_pairs + 1] = record_key
  record_pairs[#record_pairs + 1] = text
  due_pairs[#due_pairs + 1] = due_at
  due_pairs[#due_pairs + 1] = request.serial
  local answer = { DONE, text }
  entries[#entries + 1] = { request = request, text = text, answer = answer }
  return answer
end

-- Keeps a place that was just used for as long as one may be idle.
local function keep_used(candidate, pass, pass_text)
  free_ms[candidate] = math.min(now_ms + idle_ms, pass[PASS_EXPIRES_MS])
  place_pairs[#place_pairs + 1] = whole(free_ms[candidate])
  place_pairs[#place_pairs + 1] = candidate
  local used = used_passes[candidate]
  if not used or used[USED_TICKET] < pass[USED_TICKET] then
    used_passes[candidate] = pass
    pass_pairs[#pass_pairs + 1] = candidate
    pass_pairs[#pass_pairs + 1] = pass_text
  end
end

local answers = { DONE }
for n = 1, count do
  local request = requests[n]
  local answer = decide(request, KEYS[FIXED_KEYS + n], texts[n], spent[n], unpaid_texts[n])
  local code = answer[1]
  -- A candidate refused as sold out is about to look for other seats, and keeps the place too.
  if request.pass
      and (code == DONE or code == SOLD_OUT or code == SHARE_USED or code == SESSION_CONFLICT) then
    keep_used(request.candidate, request.pass, request.pass_text)
  end
  answers[n + 1] = answer
end
if #place_pairs > 0 then
  redis.call('ZADD', places_key, unpack(place_pairs))
end
if #pass_pairs > 0 then
  redis.call('HSET', passes_key, unpack(pass_pairs))
end
if #entries == 0 then
  return answers
end

-- The writes, few for the whole batch.
local version = redis.call('INCRBY', version_key, #entries) - #entries
for _, quota in ipairs(taken_quotas) do
  if taken[quota] > 0 then
    redis.call('HINCRBY', remaining_key, quota, -taken[quota])
  end
  redis.call('HINCRBY', held_key, quota, held_more[quota])
end
for place, seats in pairs(places_taken) do
  if place_left[place] < math.huge then
    redis.call('HINCRBY', ceiling_left_key, place, -seats)
  end
end
for field, seats in pairs(aside_taken) do
  redis.call('HINCRBY', aside_left_key, field, -seats)
end
for quota, seats in pairs(aside_less) do
  redis.call('HINCRBY', aside_key, quota, -seats)
end
for code, more in pairs(code_more) do
  redis.call('HINCRBY', code_uses_key, code, more)
end
for key_id, by_quota in pairs(key_taken) do
  for quota, seats in pairs(by_quota) do
    redis.call('HINCRBY', key_held_key, key_id .. '/' .. quota, seats)
  end
end
for from = 1, #claim_pairs, CALL_MAX do
  redis.call('HSET', claims_key, unpack(claim_pairs, from, math.min(from + CALL_MAX - 1, #claim_pairs)))
end
redis.call('MSET', unpack(record_pairs))
redis.call('ZADD', due_key, unpack(due_pairs))
for n, entry in ipairs(entries) do
  local serial, by, order = entry.request.serial, entry.request.by, entry.request.order
  if order == '' then
    append_as(version + n, journal_key, fence, by, 'reserve', serial, now_text, entry.text)
  else
    append_as(version + n, journal_key, fence, by, 'reserve', serial, now_text, entry.text, 'venues', order)
  end
  entry.answer[3] = version + n
end
return answers
