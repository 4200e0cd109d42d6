#!lua
-- report: keeps what a process says of its load, stamped by Redis's clock.
-- Why a script: the clock is read in the same step, so that the age of a report is known to all who
-- read it without trusting the clock of any process.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   signals      process -> time (ms) of its report|the report
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] process that reports
-- ARGV[3] text of its report
-- ARGV[4] processes at most; one more, and all have to report anew
-- ARGV[5] ttl of all reports, ms
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, signals_key = KEYS[1], KEYS[2]
local fence, process, text, ttl_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local most = tonumber(ARGV[4])

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if redis.call('HLEN', signals_key) >= most and not redis.call('HGET', signals_key, process) then
  redis.call('UNLINK', signals_key)
end
redis.call('HSET', signals_key, process, clock_ms() .. '|' .. text)
redis.call('PEXPIRE', signals_key, ttl_ms)
return { DONE }
