#!lua
-- enlist: lets a candidate wait for seats that are gone, before Postgres has the entry.
-- Why atomic: that no seat for it is on open sale, and that seats which come back from now on are kept
-- for those who wait, must be of one moment, or a seat that comes back in between would go past it.
-- Nothing of it is journalled: an entry counts when Postgres has it, and `relist` gives it its number
-- then. One that Postgres never gets is removed by the next dealing.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   remaining    venue/subject -> seats
-- KEYS[3] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[4] hash   claims       candidate/session -> serial
-- KEYS[5] hash   wanted       venue/subject -> entries that want it
-- KEYS[6] hash   list         serial of a waiting entry -> what it wants
-- KEYS[7] hash   definition   the definition in force
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] revision of the definition the caller goes by
-- ARGV[3] serial of the entry
-- ARGV[4] candidate
-- ARGV[5] subjects, joined by commas
-- ARGV[6] session of each, joined by commas
-- ARGV[7] venues in order of choice, joined by commas
-- ARGV[8] on_sale: those of the venues that are not closed for sale, joined by commas
--
-- Returns {DONE, longest, venue/subject}      waits now; the quota of it that most entries want, and how
--                                             many do
--         {DONE_BEFORE, longest, venue/subject} waits already
--         {NOT_OPEN} {CLOSED}                 outside the registration window
--         {SESSION_STARTED}                   the first sitting of the entry has begun
--         {SESSION_CONFLICT, session, serial} a reservation of the candidate takes the session
--         {SEATS_ON_SALE, venue}              all of it can be reserved there now
--         {STALE} {NOT_READY}
-- @include codes
-- @include shard
-- @include definition
-- @include opening
-- @include list

local epoch_key, remaining_key, ceiling_left_key, claims_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wanted_key, list_key, definition_key = KEYS[5], KEYS[6], KEYS[7]
local fence, revision, serial, candidate = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local subjects, sessions, venues, on_sale = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local before = redis.call('HGET', list_key, serial)
if before then
  return { DONE_BEFORE, most_wanted_by(wanted_key, read_entry(before)) }
end
if is_stale(definition_key, revision) then
  return { STALE }
end

local function ids(text)
  local found = {}
  for id in string.gmatch(text, '[^,]+') do
    found[#found + 1] = id
  end
  return found
end

local now_ms = clock_ms()
local opens_at_ms, closes_at_ms = times_in_force(definition_key)
if now_ms < opens_at_ms then
  return { NOT_OPEN }
end
if now_ms >= closes_at_ms then
  return { CLOSED }
end
local subject_ids, session_ids = ids(subjects), ids(sessions)
if now_ms >= first_sitting_ms(definition_key, subject_ids) then
  return { SESSION_STARTED }
end
for _, session in ipairs(session_ids) do
  local holder = redis.call('HGET', claims_key, candidate .. '/' .. session)
  if holder then
    return { SESSION_CONFLICT, session, holder }
  end
end

-- True where a venue has a seat on open sale for each subject.
local function has_all(venue)
  local quotas, places = {}, {}
  for i, subject in ipairs(subject_ids) do
    quotas[i], places[i] = venue .. '/' .. subject, venue .. '/' .. session_ids[i]
  end
  for _, seats in ipairs(redis.call('HMGET', remaining_key, unpack(quotas))) do
    if tonumber(seats or 0) < 1 then
      return false
    end
  end
  for _, seats in ipairs(redis.call('HMGET', ceiling_left_key, unpack(places))) do
    if seats and tonumber(seats) < 1 then
      return false
    end
  end
  return true
end
for _, venue in ipairs(ids(on_sale)) do
  if has_all(venue) then
    return { SEATS_ON_SALE, venue }
  end
end

local text = table.concat({ '', candidate, subjects, sessions, venues }, '|')
local entry = read_entry(text)
redis.call('HSET', list_key, serial, text)
count_wanted(wanted_key, entry, 1)
return { DONE, most_wanted_by(wanted_key, entry) }
