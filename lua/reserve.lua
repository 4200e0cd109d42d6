#!lua
-- reserve: takes the seats of a batch of requests; each gets all its subjects at the first of its
-- venues that has them, or nothing.
-- Why atomic: the session check, the choice of venue, the counters, the hold and its journal entry
-- must be one step, or two candidates could be given one seat.
-- Walks: (none) -> held.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   held         venue/subject -> seats
-- KEYS[5] hash   claims       candidate/session -> serial
-- KEYS[6] zset   due          serial by the time (ms) it may expire
-- KEYS[7] stream journal      one entry a step
-- KEYS[8] string record       the record of each request, one key a request
--
-- ARGV[1] epoch the caller knows
-- ARGV[2] registration opens, ms since the Unix epoch
-- ARGV[3] registration closes, ms since the Unix epoch
-- ARGV[4] hold ttl, ms
-- ARGV[5] expiry slack, ms
-- ARGV[6] fee of one subject, minor units
-- ARGV[7] currency, ISO 4217
-- ARGV[8] each request: serial, candidate, request hash, count of subjects, count of venues,
--         then the subjects, the session of each, and the venues in order of choice
--
-- Returns {DONE, answer of each request}, an answer being
--   {DONE, record, version}             held now
--   {DONE_BEFORE, record}               the same request was held before; its record as it is now
--   {KEY_REUSED}                        the id stands for another request
--   {NOT_OPEN} {CLOSED}                 outside the registration window
--   {SESSION_CONFLICT, session, serial} another reservation of the candidate stands in the session
--   {SOLD_OUT, remaining…}              what is left, venue by venue, subject by subject
-- or {NOT_READY}.
-- @include codes
-- @include shard
-- @include record
-- @include journal

local epoch_key, version_key, remaining_key, held_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local claims_key, due_key, journal_key = KEYS[5], KEYS[6], KEYS[7]
local epoch = ARGV[1]
local opens_at_ms, closes_at_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local ttl_ms, slack_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local fee, currency = tonumber(ARGV[6]), ARGV[7]
local FIXED_KEYS, FIXED_ARGS = 7, 7

if not is_open(epoch_key, epoch) then
  return { NOT_READY }
end

local now_ms = clock_ms()

local function reserve_one(record_key, at)
  local serial, candidate, request_hash = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local subjects, venues = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local subjects_at = at + 4
  local sessions_at = subjects_at + subjects
  local venues_at = sessions_at + subjects

  local before = redis.call('GET', record_key)
  if before then
    if split(before, '|')[REQUEST_HASH] ~= request_hash then
      return { KEY_REUSED }
    end
    return { DONE_BEFORE, before }
  end
  if now_ms < opens_at_ms then
    return { NOT_OPEN }
  end
  if now_ms >= closes_at_ms then
    return { CLOSED }
  end

  local claims = {}
  for i = 1, subjects do
    claims[i] = candidate .. '/' .. ARGV[sessions_at + i]
  end
  local standing = redis.call('HMGET', claims_key, unpack(claims))
  for i = 1, subjects do
    if standing[i] then
      return { SESSION_CONFLICT, ARGV[sessions_at + i], standing[i] }
    end
  end

  local venue, quotas
  local refusal = { SOLD_OUT }
  for v = 1, venues do
    local wanted, has_all = {}, true
    for i = 1, subjects do
      wanted[i] = ARGV[venues_at + v] .. '/' .. ARGV[subjects_at + i]
    end
    local left = redis.call('HMGET', remaining_key, unpack(wanted))
    for i = 1, subjects do
      local seats = tonumber(left[i] or 0)
      has_all = has_all and seats > 0
      refusal[#refusal + 1] = seats
    end
    if has_all then
      venue, quotas = ARGV[venues_at + v], wanted
      break
    end
  end
  if not venue then
    return refusal
  end

  local claim_pairs = {}
  for i = 1, subjects do
    redis.call('HINCRBY', remaining_key, quotas[i], -1)
    redis.call('HINCRBY', held_key, quotas[i], 1)
    claim_pairs[2 * i - 1], claim_pairs[2 * i] = claims[i], serial
  end
  redis.call('HSET', claims_key, unpack(claim_pairs))
  local deadline_ms = now_ms + ttl_ms
  local text = write_record(record_key, {
    'held', candidate, venue,
    table.concat(ARGV, ',', subjects_at + 1, subjects_at + subjects),
    table.concat(ARGV, ',', sessions_at + 1, sessions_at + subjects),
    fee * subjects, currency, now_ms, deadline_ms, deadline_ms, deadline_ms + slack_ms,
    0, 0, '', 0, request_hash, '', venue,
  })
  redis.call('ZADD', due_key, deadline_ms + slack_ms, serial)
  local version = append(version_key, journal_key, epoch, 'reserve', serial, now_ms, text)
  return { DONE, text, version }
end

local answers = { DONE }
local at = FIXED_ARGS + 1
for request = 1, #KEYS - FIXED_KEYS do
  answers[request + 1] = reserve_one(KEYS[FIXED_KEYS + request], at)
  at = at + 5 + 2 * tonumber(ARGV[at + 3]) + tonumber(ARGV[at + 4])
end
return answers
