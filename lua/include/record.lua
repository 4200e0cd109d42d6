-- record: one reservation as one string, so that a step is one GET and one SET, and so that its
-- journal entry can carry the whole of it. The fields are in this order, separated by '|';
-- quota_service/seats/record.py reads the same order, and a test holds the two together. A record that
-- was written before a field was there ends earlier; what it lacks is read as empty. The last field,
-- the set-aside and the code that the seats are from, is written only where it is not empty.
local STATE, CANDIDATE, VENUE, SUBJECTS, SESSIONS, AMOUNT, CURRENCY, CREATED_MS,
  FIRST_DEADLINE_MS, DEADLINE_MS, DUE_MS, CHECKED_OUT, PAYMENT_SEEN, ATTEMPT, ATTEMPT_BEGAN_MS,
  REQUEST_HASH, TO_VENUE, FIRST_VENUE,
  VENUE_CHANGES, KEY_ID,
  SET_ASIDE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21

-- How long the record of an ended reservation is kept: one day, in milliseconds.
local ENDED_RECORD_TTL_MS = 86400000

local function split(text, separator)
  local parts, from = {}, 1
  while true do
    local at = string.find(text, separator, from, true)
    if not at then
      parts[#parts + 1] = string.sub(text, from)
      return parts
    end
    parts[#parts + 1] = string.sub(text, from, at - 1)
    from = at + 1
  end
end

-- The text of a record with all its fields; one match takes a third of the time of a split.
local EVERY_FIELD = '^' .. string.rep('([^|]*)|', KEY_ID - 1) .. '([^|]*)$'

-- The fields of the text of a record.
local function fields_of(text)
  local record = { string.match(text, EVERY_FIELD) }
  if record[STATE] then
    return record
  end
  record = split(text, '|')
  for i = #record + 1, KEY_ID do
    record[i] = ''
  end
  return record
end

-- Reads the record at `key`; nil when there is none.
local function read_record(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  return fields_of(text)
end

local function record_text(record)
  return table.concat(record, '|', 1, (record[SET_ASIDE] or '') == '' and KEY_ID or SET_ASIDE)
end

-- Writes the record of a reservation that still has its seats; it stays until it ends.
local function write_record(key, record)
  local text = record_text(record)
  redis.call('SET', key, text)
  return text
end

-- Writes the record of a reservation that has ended; it stays for a day. Answers its text.
local function keep_ended(key, record)
  local text = record_text(record)
  redis.call('SET', key, text, 'PX', ENDED_RECORD_TTL_MS)
  return text
end

-- Does so, and marks its serial as spent for good: nothing is ever made under it again.
local function write_ended_record(key, record, spent_key, serial)
  redis.call('SADD', spent_key, serial)
  return keep_ended(key, record)
end
