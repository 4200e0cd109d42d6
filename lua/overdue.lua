#!lua flags=no-writes
-- overdue: reads the oldest serials of an index that are due, by Redis's clock.
-- Why a script: the clock is read in the same step, so no worker needs a clock of its own.
-- A time at which something was done cannot lie ahead, unless the clock was set back since.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] zset   index        due, or pinned: serial by a time (ms)
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] age behind the clock, ms: only times at least this long ago
-- ARGV[3] most: serials at most
-- ARGV[4] ahead, ms: times more than this ahead of the clock count too; '' for none
--
-- Returns {DONE, clock (ms), time of the first serial in the index or -1, serial, …}
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, index_key = KEYS[1], KEYS[2]
local fence, age_ms, most, ahead_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local now_ms = clock_ms()
local serials = redis.call('ZRANGE', index_key, '-inf', now_ms - age_ms, 'BYSCORE', 'LIMIT', 0, most)
if #serials == 0 and ahead_ms ~= '' then
  serials = redis.call('ZRANGE', index_key, now_ms + ahead_ms, '+inf', 'BYSCORE', 'LIMIT', 0, most)
end
local first = redis.call('ZRANGE', index_key, 0, 0, 'WITHSCORES')
return { DONE, now_ms, tonumber(first[2] or -1), unpack(serials) }
