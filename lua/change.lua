#!lua
-- change: takes the seats of another venue. A hold moves there at once; a booking has the seats of
-- both venues until Postgres has decided.
-- Why atomic: between finding the new seats free and taking them, they could go; a hold that gave
-- its old seats back first could end with none.
-- Transitions: held -> held, confirmed -> changing_venue.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   confirming   venue/subject -> seats
-- KEYS[6] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] hash   definition   the definition in force
-- KEYS[9] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[10] hash   capacity     venue/subject -> seats released so far
-- KEYS[11] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[12] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[13] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[14] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[15] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[16] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[17] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] venue to change to
-- ARGV[4] attempt, a random word that names this change
-- ARGV[5] registration opens, ms since the Unix epoch
-- ARGV[6] registration closes, ms since the Unix epoch
-- ARGV[7] revision of the definition the caller goes by
-- ARGV[8] limit: a reservation changes its venue so often at most
-- ARGV[9] share: of a hundred seats, how many the unpaid holds of one API key have at most
-- ARGV[10] leaving: the venue it is to be moved away from, '' for any
-- ARGV[11] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record, version} a hold that has moved, or a booking that is changing now
--         {DONE_BEFORE, record}   it is at this venue, or not at the one it is to leave
--         {ENDED, record}         its seats have gone back
--         {IN_PROGRESS, record}   a payment or another change is being recorded
--         {NOT_OPEN} {CLOSED}     outside the registration window
--         {CHANGES_USED}          it has changed its venue as often as it may
--         {SESSION_STARTED, record}  its first sitting has begun
--         {SHARE_USED}            a hold, and its API key has all the unpaid seats there that it may
--         {SOLD_OUT, subjects, remaining…}  what is left there, subject by subject
--         {STALE}                 another definition is in force than the caller knows
--         {UNKNOWN}               no such record
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal
-- @include seats
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local confirming_key, pinned_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local definition_key, key_held_key, capacity_key, record_key = KEYS[8], KEYS[9], KEYS[10], KEYS[17]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local ceiling_left_key, wanted_key = KEYS[15], KEYS[16]
local fence, serial, venue, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local opens_at_ms, closes_at_ms, revision = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local limit, share, leaving, by = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10], ARGV[11]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
local state = record[STATE]
if state == 'confirming' or state == 'changing_venue' then
  return { IN_PROGRESS, record_text(record) }
end
if state ~= 'held' and state ~= 'confirmed' then
  return { ENDED, record_text(record) }
end
if record[VENUE] == venue or (leaving ~= '' and record[VENUE] ~= leaving) then
  return { DONE_BEFORE, record_text(record) }
end
if is_stale(definition_key, revision) then
  return { STALE }
end
local now_ms = clock_ms()
if now_ms < opens_at_ms then
  return { NOT_OPEN }
end
if now_ms >= closes_at_ms then
  return { CLOSED }
end
if now_ms >= first_sitting_ms(definition_key, split(record[SUBJECTS], ',')) then
  return { SESSION_STARTED, record_text(record) }
end
local changes = tonumber(record[VENUE_CHANGES]) or 0
if changes >= limit then
  return { CHANGES_USED }
end
local refusal, has_all, is_used = { SOLD_OUT, record[SUBJECTS] }, true, false
local moves, sessions = begin_moves(definition_key), split(record[SESSIONS], ',')
for i, subject in ipairs(split(record[SUBJECTS], ',')) do
  local quota = venue .. '/' .. subject
  local seats = seats_on_sale(moves, quota, venue .. '/' .. sessions[i], remaining_key, ceiling_left_key)
  has_all = has_all and seats > 0
  is_used = is_used or is_share_used(key_held_key, capacity_key, record[KEY_ID], quota, share, 0)
  refusal[#refusal + 1] = seats
end
if not has_all then
  return refusal
end
if state == 'held' and is_used then
  return { SHARE_USED }
end

take_seats(moves, record, venue, state == 'held' and 'held' or 'confirming', true, aside_left_key,
  ceiling_left_key)
if state == 'held' then
  give_seats_back(moves, record, record[VENUE], 'held', false, wanted_key, aside_left_key, ceiling_left_key)
  local counts = {}
  count_for_key(counts, record, record[VENUE], -1)
  count_for_key(counts, record, venue, 1)
  write_key_counts(key_held_key, counts)
  record[VENUE], record[VENUE_CHANGES], record[SET_ASIDE] = venue, changes + 1, ''
else
  record[STATE] = 'changing_venue'
  record[TO_VENUE] = venue
  record[ATTEMPT] = attempt
  record[ATTEMPT_BEGAN_MS] = now_ms
  redis.call('ZADD', pinned_key, now_ms, serial)
end
add_up(held_key, moves.held)
add_up(confirming_key, moves.confirming)
local returned = write_pools(
  moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
local text = write_record(record_key, record)
local version = append(version_key, journal_key, fence, by, 'change', serial, now_ms, text, returned)
return { DONE, text, version }
