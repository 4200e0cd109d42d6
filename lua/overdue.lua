#!lua flags=no-writes
-- overdue: reads the oldest serials of an index whose time has come, by Redis's clock.
-- Why a script: the clock is read in the same step, so no worker needs a clock of its own.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] zset   index        due, or pinned: serial by a time (ms)
--
-- ARGV[1] epoch the caller knows
-- ARGV[2] age behind the clock, ms: only times at least this long ago
-- ARGV[3] serials at most
--
-- Returns {DONE, serial, …} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, index_key = KEYS[1], KEYS[2]
local epoch, age_ms, limit = ARGV[1], tonumber(ARGV[2]), ARGV[3]

if not is_open(epoch_key, epoch) then
  return { NOT_READY }
end
local until_ms = clock_ms() - age_ms
return { DONE, unpack(redis.call('ZRANGE', index_key, '-inf', until_ms, 'BYSCORE', 'LIMIT', 0, limit)) }
