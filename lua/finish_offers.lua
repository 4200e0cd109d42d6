#!lua flags=allow-oom
-- finish_offers: forgets offers that Postgres has.
-- Why a script: the fence; a server that was emptied must not be written to.
-- It may run when Redis is full: it frees.
--
-- KEYS[1] string epoch      the shard's epoch
-- KEYS[2] hash   offers     serial of a hold -> the entry it was offered to
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] the serials of the holds
--
-- Returns {DONE, count forgotten} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, offers_key = KEYS[1], KEYS[2]
local fence = ARGV[1]
local FIXED_ARGS = 1

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
return { DONE, redis.call('HDEL', offers_key, unpack(ARGV, FIXED_ARGS + 1)) }
