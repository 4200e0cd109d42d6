-- definition: the definition in force. Who decides by another one is told so, and nothing is done.

-- True when another definition is in force than the one the caller goes by.
local function is_stale(definition_key, revision)
  return redis.call('HGET', definition_key, 'revision') ~= revision
end
