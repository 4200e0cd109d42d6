#!lua flags=no-writes
-- claims: reads which reservations take a candidate's sessions.
-- Why a script: a claim that is missing because Redis lost it must not be answered as none.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   claims       candidate/session -> serial
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] the claims asked for: candidate/session
--
-- Returns {DONE, serial or '' for each} or {NOT_READY}.
-- @include codes
-- @include shard

if not is_open(KEYS[1], ARGV[1]) then
  return { NOT_READY }
end
local holders = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
for i = 1, #holders do
  holders[i] = holders[i] or ''
end
return { DONE, unpack(holders) }
