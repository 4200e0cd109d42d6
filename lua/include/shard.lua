-- shard: the fence and the clock every script starts with.

-- A fence is '<epoch>@<run>': the epoch of the shard and the run of the server the caller speaks to.
-- While the shard is recovered it is '<epoch>/recovery@<run>'. A run is '<start>.<history>', and the
-- history is 0 for a server that was never promoted.

-- True when the shard is open to the caller: under the same epoch, in the same run of the server.
-- After a restart or a failover the run is another, so a server that may have forgotten something
-- answers NOT_READY, to every caller and over any connection. A server that was promoted forgets
-- its history when it has had no replicas for a while, which is no failover.
local function is_open(epoch_key, fence)
  local stored = redis.call('GET', epoch_key)
  if stored == fence then
    return true
  end
  local start = string.match(fence, '^(.*%.)0$')
  return start ~= nil and stored and string.sub(stored, 1, #start) == start
end

-- The epoch of a fence, as text; nil when it is no fence.
local function epoch_of(fence)
  return string.match(fence, '^%d+')
end

-- The text of a key that is like `pattern`; nil where there is none, or what is there is none of ours.
local function text_like(key, pattern)
  local text = redis.pcall('GET', key)
  return type(text) == 'string' and string.match(text, pattern) or nil
end

-- Milliseconds since the Unix epoch by Redis's clock, the only clock that ends holds.
local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
