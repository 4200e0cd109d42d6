#!lua flags=allow-oom
-- expire: gives back the holds of a batch whose time has come.
-- Why atomic: whether a hold is still unpaid and due is checked in the step that gives it back, so
-- any number of workers may call this with the same serials.
-- It may run when Redis is full: it frees more than it writes.
-- The work of one call is bounded: what is left of the batch stays due, for the next.
-- Walks: held -> expired.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] set    spent        serials of reservations that have ended
-- KEYS[9] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[10] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[11] string record       the record of each serial, one key a serial
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] by: who asked, <key id>/<request id>
-- ARGV[3] the serials, in the order of their records
--
-- Returns {DONE, count expired, largest lag behind the due time (ms)} or {NOT_READY}.
-- @include codes
-- @include shard
-- @include record
-- @include journal
-- @include seats
-- @include unpaid
-- @include key_share

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local spent_key, unpaid_key, key_held_key = KEYS[8], KEYS[9], KEYS[10]
local fence, by = ARGV[1], ARGV[2]
local FIXED_KEYS, FIXED_ARGS = 10, 2
-- Seats given back in one call, after which no further hold is looked at.
local SEATS_MAX = 250

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

local now_ms = clock_ms()

local seats_back, key_counts = 0, {}

-- Expires one hold; answers its lag in milliseconds, or nil when there was nothing to expire.
local function expire_one(record_key, serial)
  local record = read_record(record_key)
  if not record or record[STATE] ~= 'held' then
    redis.call('ZREM', due_key, serial)
    return nil
  end
  local lag_ms = now_ms - tonumber(record[DUE_MS])
  if lag_ms < 0 then
    return nil
  end
  move_seats(record, record[VENUE], held_key, remaining_key)
  free_sessions(record, claims_key, serial)
  redis.call('ZREM', due_key, serial)
  record[STATE] = 'expired'
  seats_back = seats_back + #split(record[SUBJECTS], ',')
  count_unpaid(unpaid_key, record, 1)
  count_for_key(key_counts, record, record[VENUE], -1)
  local text = write_ended_record(record_key, record, spent_key, serial)
  append(version_key, journal_key, fence, by, 'expire', serial, now_ms, text)
  return lag_ms
end

local expired, largest_lag_ms = 0, 0
for i = 1, #KEYS - FIXED_KEYS do
  local lag_ms = expire_one(KEYS[FIXED_KEYS + i], ARGV[FIXED_ARGS + i])
  if lag_ms then
    expired = expired + 1
    largest_lag_ms = math.max(largest_lag_ms, lag_ms)
  end
  if seats_back >= SEATS_MAX then
    break
  end
end
write_key_counts(key_held_key, key_counts)
return { DONE, expired, largest_lag_ms }
