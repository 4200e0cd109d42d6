-- definition: the definition in force. A call that was made by another one is refused.

-- True when another definition is in force than the one the caller goes by.
local function is_stale(definition_key, revision)
  return redis.call('HGET', definition_key, 'revision') ~= revision
end

-- When the first sitting of subjects begins, ms since the Unix epoch; math.huge where none of them
-- is known.
local function first_sitting_ms(definition_key, subjects)
  local fields = {}
  for i, subject in ipairs(subjects) do
    fields[i] = 'starts_at_ms/' .. subject
  end
  local first_ms = math.huge
  for _, starts_at_ms in ipairs(redis.call('HMGET', definition_key, unpack(fields))) do
    first_ms = math.min(first_ms, tonumber(starts_at_ms or math.huge))
  end
  return first_ms
end
