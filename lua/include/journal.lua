-- journal: one entry for each step, appended in the same atomic call as the step itself. The
-- stream id is '<epoch>-<version>', so an entry's id gives the shard's version after it, and a
-- version that was handed out twice would be refused by Redis. `by` is who asked for the step, as
-- <key id>/<request id>.

-- Appends the entry of a step whose version was counted already; pairs of a field and its value
-- may follow.
local function append_as(version, journal_key, fence, by, verb, subject, at_ms, body, ...)
  redis.call('XADD', journal_key, epoch_of(fence) .. '-' .. version,
    'verb', verb, 'subject', subject, 'at', at_ms, 'by', by, 'body', body, ...)
end

-- Counts a step, appends its entry and returns the version. `returned` is what the step has left of
-- the seats that wait for the next allocation; nil or '' where it did not touch them.
local function append(version_key, journal_key, fence, by, verb, subject, at_ms, body, returned)
  local version = redis.call('INCR', version_key)
  if (returned or '') == '' then
    append_as(version, journal_key, fence, by, verb, subject, at_ms, body)
  else
    append_as(version, journal_key, fence, by, verb, subject, at_ms, body, 'returned', returned)
  end
  return version
end
