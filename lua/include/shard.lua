-- shard: the fence and the clock every script starts with.

-- True when the shard is open under the caller's epoch. A shard that was lost, or opened anew
-- under another epoch, answers NOT_READY instead of an answer made from what it forgot.
local function is_open(epoch_key, epoch)
  return redis.call('GET', epoch_key) == epoch
end

-- Milliseconds since the Unix epoch by Redis's clock, the only clock that ends holds.
local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
