#!lua flags=allow-oom
-- clear: removes what a shard that is to be rebuilt had before.
-- Why atomic: a rebuild that was overtaken by another must not remove what the other has built.
-- It may run when Redis is full: it only removes.
-- From the first call on there is nothing to go on from: who takes over begins anew.
--
-- KEYS[1]  string epoch        the shard's epoch and run
-- KEYS[2]  string version      counts the shard's steps
-- KEYS[3]  string origin       <epoch>-<version> the recovery goes on from, or none
-- KEYS[4]  hash   capacity     venue/subject -> seats
-- KEYS[5]  hash   remaining    venue/subject -> seats
-- KEYS[6]  hash   held         venue/subject -> seats
-- KEYS[7]  hash   confirming   venue/subject -> seats
-- KEYS[8]  hash   confirmed    venue/subject -> seats
-- KEYS[9]  hash   claims       candidate/session -> serial
-- KEYS[10] zset   due          serial by the time (ms) it may expire
-- KEYS[11] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[12] stream journal      one entry a step
-- KEYS[13] hash   definition   the definition in force
-- KEYS[14] set    spent        serials of reservations that have ended
-- KEYS[15] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[16] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[17] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[18] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[19] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[20] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[21] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[22] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[23] hash   list         serial of a waiting entry -> what it wants
-- KEYS[24] hash   offers       serial of a hold -> the entry it was offered to
-- KEYS[25] hash   aside_seats  set-aside/venue/subject -> seats kept for it, while it is on
-- KEYS[26] string record       records, one key a reservation
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
--
-- Returns {DONE}       removed
--         {NOT_READY}  another recovery has the shard
-- @include codes
-- @include shard

local epoch_key, origin_key, fence = KEYS[1], KEYS[3], ARGV[1]
local FIXED_KEYS = 25

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('SET', origin_key, 'none')
redis.call('UNLINK', KEYS[2], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10],
  KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16], KEYS[17], KEYS[18], KEYS[19],
  KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24], KEYS[25])
local function remove(record_key)
  redis.call('UNLINK', record_key)
end
for i = FIXED_KEYS + 1, #KEYS do
  remove(KEYS[i])
end
return { DONE }
