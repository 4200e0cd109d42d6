#!lua flags=no-writes
-- read: reads the record of one reservation.
-- Why a script: a record that is missing because Redis lost it must not be answered as unknown.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] set    spent        serials of reservations that have ended
-- KEYS[3] string record       the reservation's record
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] serial of the reservation
--
-- Returns {DONE, record}
--         {ENDED}         it ended, and its record is gone
--         {UNKNOWN}       there never was one
--         {NOT_READY}
-- @include codes
-- @include shard

local epoch_key, spent_key, record_key = KEYS[1], KEYS[2], KEYS[3]
local fence, serial = ARGV[1], ARGV[2]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local text = redis.call('GET', record_key)
if not text then
  return { redis.call('SISMEMBER', spent_key, serial) == 1 and ENDED or UNKNOWN }
end
return { DONE, text }
