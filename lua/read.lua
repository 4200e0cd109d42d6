#!lua flags=no-writes
-- read: reads the record of one reservation.
-- Why a script: a record that is missing because Redis lost it must not be answered as unknown.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
--
-- Returns {DONE, record}, {UNKNOWN} or {NOT_READY}.
-- @include codes
-- @include shard

if not is_open(KEYS[1], ARGV[1]) then
  return { NOT_READY }
end
local text = redis.call('GET', KEYS[2])
if not text then
  return { UNKNOWN }
end
return { DONE, text }
