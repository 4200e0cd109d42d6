-- journal: one entry for each step, appended in the same atomic call as the step itself. The
-- stream id is '<epoch>-<version>', so an entry's id tells the shard's version after it, and a
-- version that was handed out twice would be refused by Redis. Returns the version.
local function append(version_key, journal_key, epoch, verb, subject, at_ms, body)
  local version = redis.call('INCR', version_key)
  redis.call('XADD', journal_key, epoch .. '-' .. version,
    'verb', verb, 'subject', subject, 'at', at_ms, 'body', body)
  return version
end
