#!lua flags=no-writes
-- snapshot: reads every counter of a shard at one moment.
-- Why a script: the books only balance when all counters are read in one step.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
-- KEYS[8] zset   due          serial by the time (ms) it may expire
-- KEYS[9] zset   pinned       serial by the time (ms) it was pinned
-- KEYS[10] stream journal     one entry a step
-- KEYS[11] hash   claims      candidate/session -> serial
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, version, clock (ms), live holds, pins, undrained journal entries, claims,
--          capacity, remaining, held, confirming, confirmed}, each of the last five a flat list of
-- venue/subject and seats; or {NOT_READY}.
-- @include codes
-- @include shard

local fence = ARGV[1]

if not is_open(KEYS[1], fence) then
  return { NOT_READY }
end
return {
  DONE, tonumber(redis.call('GET', KEYS[2])), clock_ms(),
  redis.call('ZCARD', KEYS[8]), redis.call('ZCARD', KEYS[9]), redis.call('XLEN', KEYS[10]),
  redis.call('HLEN', KEYS[11]),
  redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5]),
  redis.call('HGETALL', KEYS[6]), redis.call('HGETALL', KEYS[7]),
}
