-- seats: moves the seats of a record between the counters of its quotas.

-- Moves one seat at the venue for each subject of the record from one counter to another.
local function move_seats(record, venue, from_key, to_key)
  for _, subject in ipairs(split(record[SUBJECTS], ',')) do
    local quota = venue .. '/' .. subject
    redis.call('HINCRBY', from_key, quota, -1)
    redis.call('HINCRBY', to_key, quota, 1)
  end
end

-- Frees the candidate's sessions, each only if this reservation takes it.
local function free_sessions(record, claims_key, serial)
  for _, session in ipairs(split(record[SESSIONS], ',')) do
    local claim = record[CANDIDATE] .. '/' .. session
    if redis.call('HGET', claims_key, claim) == serial then
      redis.call('HDEL', claims_key, claim)
    end
  end
end
