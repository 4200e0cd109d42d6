#!lua flags=no-writes
-- list_status: says whether there is something to deal, and when it is.
-- Why a script: the fence, and one answer for all of it; it is asked all the time.
--
-- KEYS[1] string epoch      the shard's epoch
-- KEYS[2] hash   returned   venue/subject -> seats that wait for the next allocation
-- KEYS[3] hash   list       serial of a waiting entry -> what it wants
-- KEYS[4] hash   offers     serial of a hold -> the entry it was offered to
-- KEYS[5] hash   definition the definition in force
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, quotas with returned seats, waiting entries, offers, clock (ms), revision of the definition
--          in force} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, returned_key, list_key, offers_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local definition_key = KEYS[5]
local fence = ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local offers = redis.call('HLEN', offers_key)
if redis.call('HGET', offers_key, 'leader') then
  offers = offers - 1
end
return {
  DONE, redis.call('HLEN', returned_key), redis.call('HLEN', list_key), offers, clock_ms(),
  redis.call('HGET', definition_key, 'revision') or '',
}
