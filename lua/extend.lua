#!lua
-- extend: moves the deadlines of a batch of holds out, each once for an extension and not beyond the
-- beginning of its first sitting. What has ended or is booked, what was made later and what is of
-- another venue or subject is left.
-- The batch is read, decided and written as a whole, as `expire` does.
-- Why atomic: the deadline shown, the index of due holds and the note that this hold was moved must
-- change together, so that any number of processes may call this with the same serials.
-- A hold whose payment is being recorded is in no index: its record alone is moved. One that had
-- expired before its payment came is left.
-- Transitions: held -> held, confirming -> confirming.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] zset   due          serial by the time (ms) it may expire
-- KEYS[4] stream journal      one entry a step
-- KEYS[5] hash   definition   the definition in force
-- KEYS[6] hash   extended     serial -> the extension that moved it last; done: those that are done
-- KEYS[7] string record       the record of each serial, one key a serial
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] extension: its number; later ones have higher numbers
-- ARGV[3] more, ms
-- ARGV[4] as_of: holds that were made later are left, ms since the Unix epoch
-- ARGV[5] venue of the holds, '' for all
-- ARGV[6] subject that the holds have, '' for any
-- ARGV[7] by: who asked, <key id>/<request id>
-- ARGV[8] the serials, in the order of their records
--
-- Returns {DONE, count of holds moved} or {NOT_READY}. One that is done moves none.
-- @include codes
-- @include shard
-- @include definition
-- @include record
-- @include journal

local epoch_key, version_key, due_key, journal_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local definition_key, extended_key = KEYS[5], KEYS[6]
local fence, extension, more_ms, as_of_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local venue, subject, by = ARGV[5], ARGV[6], ARGV[7]
local FIXED_KEYS, FIXED_ARGS = 6, 7

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end

if tonumber(redis.call('HGET', extended_key, 'done') or 0) >= tonumber(extension) then
  return { DONE, 0 }
end

local now_ms = clock_ms()
local texts = redis.call('MGET', unpack(KEYS, FIXED_KEYS + 1))
local noted = redis.call('HMGET', extended_key, unpack(ARGV, FIXED_ARGS + 1))
-- When the first sitting begins of each choice of subjects in the batch.
local sittings = {}
-- What is to be written once everything is decided.
local moved, record_pairs, due_pairs, noted_pairs = {}, {}, {}, {}

-- True for what is extended: a live hold of the venue and subject, made by then.
local function is_meant(record)
  if record[STATE] ~= 'held' and (record[STATE] ~= 'confirming' or record[DUE_MS] == '0') then
    return false
  end
  if tonumber(record[CREATED_MS]) > as_of_ms or (venue ~= '' and record[VENUE] ~= venue) then
    return false
  end
  return subject == '' or string.find(',' .. record[SUBJECTS] .. ',', ',' .. subject .. ',', 1, true)
end

-- Moves one hold, unless this extension or a later one has.
local function decide(text, extended, record_key, serial)
  local record = text and fields_of(text)
  if not record or tonumber(extended or 0) >= tonumber(extension) or not is_meant(record) then
    return
  end
  local chosen = record[SUBJECTS]
  sittings[chosen] = sittings[chosen] or first_sitting_ms(definition_key, split(chosen, ','))
  local deadline_ms = tonumber(record[DEADLINE_MS])
  local own_ms = math.min(more_ms, sittings[chosen] - deadline_ms)
  if own_ms <= 0 then
    return
  end
  record[DEADLINE_MS] = string.format('%d', deadline_ms + own_ms)
  record[DUE_MS] = string.format('%d', tonumber(record[DUE_MS]) + own_ms)
  local changed = record_text(record)
  moved[#moved + 1] = { serial = serial, text = changed }
  record_pairs[#record_pairs + 1] = record_key
  record_pairs[#record_pairs + 1] = changed
  noted_pairs[#noted_pairs + 1] = serial
  noted_pairs[#noted_pairs + 1] = extension
  if record[STATE] == 'held' then
    due_pairs[#due_pairs + 1] = record[DUE_MS]
    due_pairs[#due_pairs + 1] = serial
  end
end

for at = 1, #KEYS - FIXED_KEYS do
  decide(texts[at], noted[at], KEYS[FIXED_KEYS + at], ARGV[FIXED_ARGS + at])
end
if #moved == 0 then
  return { DONE, 0 }
end

redis.call('MSET', unpack(record_pairs))
redis.call('HSET', extended_key, unpack(noted_pairs))
if #due_pairs > 0 then
  redis.call('ZADD', due_key, unpack(due_pairs))
end
local version = redis.call('INCRBY', version_key, #moved) - #moved
for n, hold in ipairs(moved) do
  append_as(version + n, journal_key, fence, by, 'extend', hold.serial, now_ms, hold.text)
end
return { DONE, #moved }
