-- shard: the fence and the clock every script starts with.

-- A fence is '<epoch>@<run>': the epoch of the shard and the run of the server the caller speaks to.
-- While the shard is recovered it is '<epoch>/recovery@<run>'.

-- True when the shard is open to the caller: under the same epoch, in the same run of the server.
-- After a restart or a failover the run is another, so a server that may have forgotten something
-- answers NOT_READY, whoever asks and over whichever connection.
local function is_open(epoch_key, fence)
  return redis.call('GET', epoch_key) == fence
end

-- The epoch of a fence, as text.
local function epoch_of(fence)
  return string.match(fence, '^%d+')
end

-- Milliseconds since the Unix epoch by Redis's clock, the only clock that ends holds.
local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
