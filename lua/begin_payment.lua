#!lua flags=allow-oom
-- begin_payment: an attempt to record a captured payment locks its reservation, which can then no
-- longer expire. A hold that has expired meanwhile gets its seats again if they are still there, in
-- the sessions that its subjects are in now.
-- Why atomic: between finding a hold alive and marking it, it could expire; between finding seats
-- free and taking them, they could go.
-- It takes them until the first of its sittings begins, and after registration has closed only where
-- the deadline that was shown lay there too.
-- It may run when Redis is full: turning a payment away loses more than a few bytes.
-- Transitions: held -> confirming, expired -> confirming.
--
-- KEYS[1]  string epoch        the shard's epoch
-- KEYS[2]  string version      counts the shard's steps
-- KEYS[3]  hash   remaining    venue/subject -> seats
-- KEYS[4]  hash   held         venue/subject -> seats
-- KEYS[5]  hash   confirming   venue/subject -> seats
-- KEYS[6]  hash   claims       candidate/session -> serial
-- KEYS[7]  zset   due          serial by the time (ms) it may expire
-- KEYS[8]  zset   pinned       serial by the time (ms) its attempt began
-- KEYS[9]  stream journal      one entry a step
-- KEYS[10] set    spent        serials of reservations that have ended
-- KEYS[11] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[12] hash   definition   the definition in force
-- KEYS[13] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[14] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[15] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[16] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[17] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[18] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[19] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
-- ARGV[3] attempt, a random word that names it
-- ARGV[4] amount paid, minor units
-- ARGV[5] currency paid, ISO 4217
-- ARGV[6] again: 1 when an expired hold takes its seats again, 0 when it is left
-- ARGV[7] revision of the definition the caller goes by, '' with 0
-- ARGV[8] sessions_now: those of the reservation's subjects by it, joined by commas; '' with 0
-- ARGV[9] is_closed: 1 when its seats are closed for sale by it, 0 otherwise
-- ARGV[10] uses_max: how often the code of its seats may be used, at most; '' with 0 or without a code
-- ARGV[11] by: who asked, <key id>/<request id>
--
-- Returns {DONE, record, version}             it began now; the shard's version after it
--         {DONE_BEFORE, record, version}      another began before, at this version at the latest
--         {ENDED, record}                     expired, and left
--         {ALREADY_CONFIRMED, record}         paid before
--         {RELEASED, record}                  its candidate gave it back
--         {REFUNDED, record}                  its candidate had it refunded
--         {WRONG_AMOUNT, record}              not what the order costs
--         {WRONG_CURRENCY, record}            not the order's currency
--         {SESSION_CONFLICT, session, serial} expired, and another reservation takes the session,
--                                             or two of its subjects are in one session now
--         {SOLD_OUT, remaining…}              expired, and a seat is gone, closed for sale, or of a
--                                             code that others use as often as it may
--         {CLOSED, record}                    expired, and it is too late to take its seats again
--         {STALE}                             expired, and another definition is in force
--         {UNKNOWN}                           no such record
--         {NOT_READY}
-- Every refusal of a record leaves on it that a payment was seen. A hold that has taken its seats
-- again is due at 0: given up, it has expired.
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal
-- @include seats
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key = KEYS[1], KEYS[2], KEYS[3]
local held_key, confirming_key, claims_key = KEYS[4], KEYS[5], KEYS[6]
local due_key, pinned_key, journal_key = KEYS[7], KEYS[8], KEYS[9]
local spent_key, unpaid_key = KEYS[10], KEYS[11]
local definition_key, key_held_key, record_key = KEYS[12], KEYS[13], KEYS[19]
local returned_key, aside_key, aside_left_key, code_uses_key = KEYS[14], KEYS[15], KEYS[16], KEYS[17]
local ceiling_left_key = KEYS[18]
local fence, serial, attempt = ARGV[1], ARGV[2], ARGV[3]
local amount, currency, again = ARGV[4], ARGV[5], ARGV[6]
local revision, sessions_now, is_closed = ARGV[7], ARGV[8], ARGV[9]
local uses_max, by = ARGV[10], ARGV[11]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local record = read_record(record_key)
if not record then
  return { UNKNOWN }
end
local state = record[STATE]
if state == 'confirming' then
  return { DONE_BEFORE, record_text(record), tonumber(redis.call('GET', version_key)) }
end

local now_ms = clock_ms()

-- Leaves on the record that a payment was seen, and answers with the refusal.
local function refuse(answer)
  if record[PAYMENT_SEEN] ~= '1' then
    record[PAYMENT_SEEN] = '1'
    local text = record_text(record)
    redis.call('SET', record_key, text, 'KEEPTTL')
    append(version_key, journal_key, fence, by, 'see_payment', serial, now_ms, text)
  end
  if #answer == 1 then
    answer[2] = record_text(record)
  end
  return answer
end

if state == 'confirmed' or state == 'changing_venue' then
  return refuse({ ALREADY_CONFIRMED })
end
if state == 'refunded' then
  return refuse({ REFUNDED })
end
if state == 'released' then
  return refuse({ RELEASED })
end
if record[AMOUNT] ~= amount then
  return refuse({ WRONG_AMOUNT })
end
if record[CURRENCY] ~= currency then
  return refuse({ WRONG_CURRENCY })
end

if state == 'expired' and again == '0' then
  return { ENDED, record_text(record) }
end
local moves, sessions = begin_moves(definition_key), split(sessions_now, ',')
if state == 'expired' then
  if is_stale(definition_key, revision) then
    return { STALE }
  end
  local closes_at_ms = tonumber(redis.call('HGET', definition_key, 'closes_at_ms'))
  local has_closed = now_ms >= closes_at_ms and tonumber(record[DEADLINE_MS]) < closes_at_ms
  if has_closed or now_ms >= first_sitting_ms(definition_key, split(record[SUBJECTS], ',')) then
    return refuse({ CLOSED })
  end
  local own = {}
  for _, session in ipairs(sessions) do
    local holder = redis.call('HGET', claims_key, record[CANDIDATE] .. '/' .. session) or own[session]
    own[session] = serial
    if holder then
      return refuse({ SESSION_CONFLICT, session, holder })
    end
  end
  local refusal, has_all = { SOLD_OUT }, is_closed ~= '1'
  local set_aside, code = set_aside_of(record)
  local is_used = uses_max ~= ''
    and tonumber(redis.call('HGET', code_uses_key, code) or 0) >= tonumber(uses_max)
  for i, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota, place = record[VENUE] .. '/' .. subject, record[VENUE] .. '/' .. sessions[i]
    local left = set_aside and redis.call('HGET', aside_left_key, set_aside .. '/' .. quota)
    local seats = left and (is_used and 0 or tonumber(left))
      or seats_on_sale(moves, quota, place, remaining_key, ceiling_left_key)
    has_all = has_all and seats > 0
    refusal[#refusal + 1] = seats
  end
  if not has_all then
    return refuse(refusal)
  end
end

local returned
if state == 'held' then
  move_seats(record, record[VENUE], held_key, confirming_key)
  local counts = {}
  count_for_key(counts, record, record[VENUE], -1)
  write_key_counts(key_held_key, counts)
  redis.call('ZREM', due_key, serial)
else
  record[SESSIONS] = sessions_now
  record[DUE_MS] = '0'
  take_seats(moves, record, record[VENUE], 'confirming', false, aside_left_key, ceiling_left_key)
  add_up(confirming_key, moves.confirming)
  returned = write_pools(
    moves, remaining_key, returned_key, aside_key, aside_left_key, code_uses_key, ceiling_left_key)
  for _, session in ipairs(sessions) do
    redis.call('HSET', claims_key, record[CANDIDATE] .. '/' .. session, serial)
  end
  redis.call('SREM', spent_key, serial)
  count_unpaid(unpaid_key, record, -1)
end
record[STATE] = 'confirming'
record[PAYMENT_SEEN] = '1'
record[ATTEMPT] = attempt
record[ATTEMPT_BEGAN_MS] = now_ms
local text = write_record(record_key, record)
redis.call('ZADD', pinned_key, now_ms, serial)
local version = append(version_key, journal_key, fence, by, 'pin', serial, now_ms, text, returned)
return { DONE, text, version }
