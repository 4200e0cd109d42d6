-- unpaid: how many holds of each candidate have ended unpaid, and when the last of them ended. The
-- rules that this is held against are those of the exam, and `reserve` alone goes by them.
local UNPAID_COUNT, UNPAID_LAST_MS = 1, 2

-- The count and the last end (ms) in a field of the hash; zeros where there is none.
local function read_unpaid(text)
  if not text then
    return { 0, 0 }
  end
  local count, last_ms = string.match(text, '^(%d+)|(%d+)$')
  return { tonumber(count), tonumber(last_ms) }
end

-- A field of the hash: so many holds, the last of which ended then (ms).
local function unpaid_field(count, last_ms)
  return string.format('%.0f|%.0f', count, last_ms)
end

-- True for a hold that has ended without a booking.
local function has_ended_unpaid(record)
  return record[STATE] == 'released' or record[STATE] == 'expired'
end

-- Counts a hold that has ended unpaid (1), or one that has not after all (-1). Its due time is when
-- it ended.
local function count_unpaid(unpaid_key, record, by)
  local unpaid = read_unpaid(redis.call('HGET', unpaid_key, record[CANDIDATE]))
  local count = unpaid[UNPAID_COUNT] + by
  if count < 1 then
    redis.call('HDEL', unpaid_key, record[CANDIDATE])
    return
  end
  local last_ms = math.max(unpaid[UNPAID_LAST_MS], tonumber(record[DUE_MS]))
  redis.call('HSET', unpaid_key, record[CANDIDATE], unpaid_field(count, last_ms))
end
