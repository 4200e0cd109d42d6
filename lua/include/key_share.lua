-- key_share: how many seats of each quota the unpaid holds of an API key have. A hold that was made
-- without a key, or before its key was known, counts for none.

-- Adds the seats of a hold at a venue to the counts of its key: `more` of each quota, or less.
local function count_for_key(counts, record, venue, more)
  local key_id = record[KEY_ID] or ''
  if key_id == '' then
    return
  end
  for subject in string.gmatch(record[SUBJECTS], '[^,]+') do
    local field = key_id .. '/' .. venue .. '/' .. subject
    counts[field] = (counts[field] or 0) + more
  end
end

-- Writes what was counted.
local function write_key_counts(key_held_key, counts)
  for field, more in pairs(counts) do
    if more ~= 0 and redis.call('HINCRBY', key_held_key, field, more) < 1 then
      redis.call('HDEL', key_held_key, field)
    end
  end
end

-- True when the unpaid holds of a key, and `more` beside those counted, have all the seats of a quota
-- that they may: `share` in a hundred, but one at least.
local function is_share_used(key_held_key, capacity_key, key_id, quota, share, more)
  if share >= 100 or key_id == '' then
    return false
  end
  local capacity = tonumber(redis.call('HGET', capacity_key, quota) or 0)
  local held = tonumber(redis.call('HGET', key_held_key, key_id .. '/' .. quota) or 0)
  return held + more >= math.max(1, math.floor(capacity * share / 100))
end
