-- key_share: how many seats of each quota the unpaid holds of an API key have. A hold that was made
-- without a key, or before its key was known, counts for none.

-- Counts the seats of a hold at a venue for its key: `by` more of each quota, or less.
local function count_for_key(key_held_key, record, venue, by)
  local key_id = record[KEY_ID] or ''
  if key_id == '' then
    return
  end
  for _, subject in ipairs(split(record[SUBJECTS], ',')) do
    local field = key_id .. '/' .. venue .. '/' .. subject
    if redis.call('HINCRBY', key_held_key, field, by) < 1 then
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
