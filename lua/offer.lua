#!lua
-- offer: makes holds of the seats that a dealing has planned for waiting entries, in their order.
-- Each entry gets all its subjects at the venue that was planned for it, or the batch ends there: what
-- becomes of the entries after it has to be planned again, since one between may be served now.
-- Why atomic: an entry leaves the list, and its hold takes the seats and the sessions, in one step.
-- Transitions: (none) -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[5] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[6] hash   held         venue/subject -> seats
-- KEYS[7] hash   claims       candidate/session -> serial
-- KEYS[8] zset   due          serial by the time (ms) it may expire
-- KEYS[9] stream journal      one entry a step
-- KEYS[10] set    spent        serials of reservations that have ended
-- KEYS[11] hash   definition   the definition in force
-- KEYS[12] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[13] hash   list         serial of a waiting entry -> what it wants
-- KEYS[14] hash   offers       serial of a hold -> the entry it was offered to
-- KEYS[15] string record       the record of each offer, one key an offer
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] revision of the definition the caller goes by
-- ARGV[3] number of the leader's epoch
-- ARGV[4] by: who asked, <key id>/<request id>
-- ARGV[5] fee of one subject, minor units
-- ARGV[6] currency, ISO 4217
-- ARGV[7] each offer: serial of the hold, serial of the entry, candidate, venue, deadline (ms), when it
--         may expire (ms), count of subjects, then for each subject: the subject, its session, and where
--         the seat is: 'returned', 'remaining', or 'remaining' with the venue/subject, behind a colon,
--         of the returned seat that goes on open sale for the place it has under the ceiling
--
-- Returns {DONE, answer of each offer up to the first that is refused}, an answer being
--   {DONE, record}                      held now
--   {DONE_BEFORE, record}               the same offer was made before; its record as it is now
--   {ENDED}                             the same offer was made before and has ended, without a record
--   {UNKNOWN}                           the entry is not on the list
--   {SESSION_CONFLICT, session, serial} a reservation of the candidate takes the session
--   {SOLD_OUT}                          a seat or a place that was planned is gone
--   {CLOSED}                            registration is over
--   {SESSION_STARTED}                   the deadline has passed
-- or {IN_PROGRESS, its epoch}: another leader has begun since; {STALE}: another definition is in force
-- than the caller knows; or {NOT_READY}.
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal
-- @include opening
-- @include list
-- @include dealing

local epoch_key, version_key, remaining_key, returned_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ceiling_left_key, held_key, claims_key, due_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local journal_key, spent_key, definition_key = KEYS[9], KEYS[10], KEYS[11]
local wanted_key, list_key, offers_key = KEYS[12], KEYS[13], KEYS[14]
local fence, revision, leader, by = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local fee, currency = tonumber(ARGV[5]), ARGV[6]
local FIXED_KEYS, FIXED_ARGS = 14, 6

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if is_stale(definition_key, revision) then
  return { STALE }
end
local last = last_leader(offers_key)
if last > leader then
  return { IN_PROGRESS, last }
end

local now_ms = clock_ms()
local _, closes_at_ms = times_in_force(definition_key)
local with_ceilings = redis.call('HGET', definition_key, 'ceilings') == '1'
local count = #KEYS - FIXED_KEYS

-- The offers: one table each, with where its subjects begin in ARGV.
local requests, serials, entry_serials = {}, {}, {}
local at = FIXED_ARGS + 1
for n = 1, count do
  local subjects = tonumber(ARGV[at + 6])
  requests[n] = {
    serial = ARGV[at], entry = ARGV[at + 1], candidate = ARGV[at + 2], venue = ARGV[at + 3],
    deadline = ARGV[at + 4], due = ARGV[at + 5], subjects = subjects, at = at + 7,
  }
  serials[n], entry_serials[n] = ARGV[at], ARGV[at + 1]
  at = at + 7 + 3 * subjects
end
local texts = redis.call('MGET', unpack(KEYS, FIXED_KEYS + 1, #KEYS))
local spent = redis.call('SMISMEMBER', spent_key, unpack(serials))
local entry_texts = redis.call('HMGET', list_key, unpack(entry_serials))

-- What is left of seats and places, read once and counted down as offers are decided; what was
-- decided changes them by so many.
local remaining, returned, places, holders = {}, {}, {}, {}
local remaining_more, returned_more, places_more, held_more = {}, {}, {}, {}

local function remaining_of(quota)
  remaining[quota] = remaining[quota] or tonumber(redis.call('HGET', remaining_key, quota) or 0)
  return remaining[quota]
end

local function returned_of(quota)
  returned[quota] = returned[quota] or tonumber(redis.call('HGET', returned_key, quota) or 0)
  return returned[quota]
end

-- The places left under a ceiling; false where there is none.
local function places_of(place)
  if with_ceilings and places[place] == nil then
    local left = redis.call('HGET', ceiling_left_key, place)
    places[place] = left and tonumber(left)
  end
  return with_ceilings and places[place]
end

local function holder_of(claim)
  if holders[claim] == nil then
    holders[claim] = redis.call('HGET', claims_key, claim)
  end
  return holders[claim]
end

local function change(counts, changes, field, more)
  counts[field] = counts[field] + more
  changes[field] = (changes[field] or 0) + more
end

-- The subjects, sessions and seats of an offer.
local function seats_of(request)
  local seats, subjects, sessions = {}, {}, {}
  for i = 1, request.subjects do
    local from = request.at + 3 * (i - 1)
    local subject, session, source = ARGV[from], ARGV[from + 1], ARGV[from + 2]
    subjects[i], sessions[i] = subject, session
    seats[i] = {
      quota = request.venue .. '/' .. subject, place = request.venue .. '/' .. session,
      is_returned = source == 'returned', opened = string.match(source, ':(.*)$'),
    }
  end
  return seats, subjects, sessions
end

local function is_there(seat)
  if seat.is_returned then
    return returned_of(seat.quota) > 0
  end
  if remaining_of(seat.quota) < 1 then
    return false
  end
  if seat.opened then
    return returned_of(seat.opened) > 0
  end
  local left = places_of(seat.place)
  return not left or left > 0
end

-- Takes a seat, and adds to `told` the returned seats that it changed, as quota=seats.
local function take(seat, told)
  local from_returned = seat.is_returned and seat.quota or seat.opened
  if from_returned then
    change(returned, returned_more, from_returned, -1)
    told[#told + 1] = from_returned .. '=' .. returned[from_returned]
  elseif places_of(seat.place) then
    change(places, places_more, seat.place, -1)
  end
  if not seat.is_returned then
    change(remaining, remaining_more, seat.quota, -1)
  end
  if seat.opened then
    remaining_of(seat.opened)
    change(remaining, remaining_more, seat.opened, 1)
  end
  held_more[seat.quota] = (held_more[seat.quota] or 0) + 1
end

-- What is to be written once everything is decided.
local record_pairs, claim_pairs, due_pairs, offer_pairs, entries = {}, {}, {}, {}, {}
local delisted = {}

local function decide(request, record_key, text_before, is_spent, entry_text)
  if text_before then
    return { DONE_BEFORE, text_before }
  end
  if is_spent == 1 then
    return { ENDED }
  end
  if not entry_text then
    return { UNKNOWN }
  end
  if now_ms >= closes_at_ms then
    return { CLOSED }
  end
  if now_ms >= tonumber(request.deadline) then
    return { SESSION_STARTED }
  end
  local seats, subjects, sessions = seats_of(request)
  for _, session in ipairs(sessions) do
    local holder = holder_of(request.candidate .. '/' .. session)
    if holder then
      return { SESSION_CONFLICT, session, holder }
    end
  end
  for _, seat in ipairs(seats) do
    if not is_there(seat) then
      return { SOLD_OUT }
    end
  end

  local told = {}
  for i, seat in ipairs(seats) do
    take(seat, told)
    local claim = request.candidate .. '/' .. sessions[i]
    holders[claim] = request.serial
    claim_pairs[#claim_pairs + 1] = claim
    claim_pairs[#claim_pairs + 1] = request.serial
  end
  local text = record_text({
    'held', request.candidate, request.venue,
    table.concat(subjects, ','), table.concat(sessions, ','),
    string.format('%d', fee * request.subjects), currency, string.format('%d', now_ms),
    request.deadline, request.deadline, request.due,
    '0', '0', '', '0', request.entry, '', request.venue, '0', '',
  })
  record_pairs[#record_pairs + 1] = record_key
  record_pairs[#record_pairs + 1] = text
  due_pairs[#due_pairs + 1] = request.due
  due_pairs[#due_pairs + 1] = request.serial
  offer_pairs[#offer_pairs + 1] = request.serial
  offer_pairs[#offer_pairs + 1] = request.entry
  delisted[#delisted + 1] = request.entry
  entries[#entries + 1] = {
    serial = request.serial, text = text, returned = table.concat(told, ','), wanted = entry_text,
  }
  return { DONE, text }
end

local answers = { DONE }
for n = 1, count do
  local answer = decide(requests[n], KEYS[FIXED_KEYS + n], texts[n], spent[n], entry_texts[n])
  answers[n + 1] = answer
  if answer[1] < DONE then
    break
  end
end
if #entries == 0 then
  return answers
end

-- The writes, few for the whole batch.
local version = redis.call('INCRBY', version_key, #entries) - #entries
for quota, more in pairs(remaining_more) do
  redis.call('HINCRBY', remaining_key, quota, more)
end
for quota in pairs(returned_more) do
  if returned[quota] > 0 then
    redis.call('HSET', returned_key, quota, returned[quota])
  else
    redis.call('HDEL', returned_key, quota)
  end
end
for place, more in pairs(places_more) do
  redis.call('HINCRBY', ceiling_left_key, place, more)
end
for quota, more in pairs(held_more) do
  redis.call('HINCRBY', held_key, quota, more)
end
redis.call('HSET', claims_key, unpack(claim_pairs))
redis.call('MSET', unpack(record_pairs))
redis.call('ZADD', due_key, unpack(due_pairs))
redis.call('HSET', offers_key, unpack(offer_pairs))
redis.call('HDEL', list_key, unpack(delisted))
for n, entry in ipairs(entries) do
  count_wanted(wanted_key, read_entry(entry.wanted), -1)
  if entry.returned == '' then
    append_as(version + n, journal_key, fence, by, 'offer', entry.serial, now_ms, entry.text)
  else
    append_as(version + n, journal_key, fence, by, 'offer', entry.serial, now_ms, entry.text,
      'returned', entry.returned)
  end
end
return answers
