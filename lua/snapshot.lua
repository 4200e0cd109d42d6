#!lua flags=no-writes
-- snapshot: reads the counters of a shard, a page of quotas at a time.
-- Why a script: the books of a quota only balance when all its counters are read in one step.
-- A page is bounded, so that no other exam waits for a large one. The first page has the version
-- before anything else was read: what a reader has gathered is at least as new as that, and all of
-- one moment when the last page has the same version.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   capacity     venue/subject -> seats
-- KEYS[4] hash   remaining    venue/subject -> seats
-- KEYS[5] hash   held         venue/subject -> seats
-- KEYS[6] hash   confirming   venue/subject -> seats
-- KEYS[7] hash   confirmed    venue/subject -> seats
-- KEYS[8] zset   due          serial by the time (ms) it may expire
-- KEYS[9] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[10] stream journal     one entry a step
-- KEYS[11] hash   claims      candidate/session -> serial
-- KEYS[12] hash   returned    venue/subject -> seats that wait for the next allocation
-- KEYS[13] hash   aside       venue/subject -> seats left in its set-asides
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] known version: no quotas are answered while the shard is at it; '' for none
-- ARGV[3] cursor of the page: 0 for the first, then the one that the page before answered
-- ARGV[4] count: about how many quotas at most; 0 for none
--
-- Returns {DONE, version, clock (ms), live holds, attempts, undrained journal entries, claims, cursor of
--          the next page or 0, {venue/subject, capacity, remaining, returned, aside, held, confirming,
--          confirmed, …}}
--         {DONE_BEFORE, version, clock (ms), live holds, attempts, undrained journal entries, claims}
--                      nothing was changed since the known version, or no quotas are wanted
--         {NOT_READY}
-- A quota may be answered twice, as with SCAN.
-- @include codes
-- @include shard

local epoch_key, version_key, capacity_key, remaining_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local held_key, confirming_key, confirmed_key, due_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local pinned_key, journal_key, claims_key = KEYS[9], KEYS[10], KEYS[11]
local returned_key, aside_key = KEYS[12], KEYS[13]
local fence, known, cursor, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local version = redis.call('GET', version_key)
local answer = {
  DONE, tonumber(version), clock_ms(),
  redis.call('ZCARD', due_key), redis.call('ZCARD', pinned_key),
  redis.call('XLEN', journal_key), redis.call('HLEN', claims_key),
}
if version == known or count == '0' then
  answer[1] = DONE_BEFORE
  return answer
end
local page = redis.call('HSCAN', capacity_key, cursor, 'COUNT', count)
answer[8], answer[9] = page[1], {}
local found = page[2]
if #found == 0 then
  return answer
end
local quotas = {}
for i = 1, #found, 2 do
  quotas[#quotas + 1] = found[i]
end
local remaining = redis.call('HMGET', remaining_key, unpack(quotas))
-- Most exams have neither.
local returned, aside = {}, {}
if redis.call('HLEN', returned_key) > 0 then
  returned = redis.call('HMGET', returned_key, unpack(quotas))
end
if redis.call('HLEN', aside_key) > 0 then
  aside = redis.call('HMGET', aside_key, unpack(quotas))
end
local held = redis.call('HMGET', held_key, unpack(quotas))
local confirming = redis.call('HMGET', confirming_key, unpack(quotas))
local confirmed = redis.call('HMGET', confirmed_key, unpack(quotas))
local rows = answer[9]
for i, quota in ipairs(quotas) do
  local at = 8 * i - 7
  rows[at], rows[at + 1], rows[at + 2] = quota, found[2 * i], remaining[i] or '0'
  rows[at + 3], rows[at + 4] = returned[i] or '0', aside[i] or '0'
  rows[at + 5], rows[at + 6], rows[at + 7] = held[i] or '0', confirming[i] or '0', confirmed[i] or '0'
end
return answer
