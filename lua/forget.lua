#!lua flags=allow-oom
-- forget: removes an exam that is archived.
-- Why a script: a shard that another recovery has taken over is not ours to remove.
-- It may run when Redis is full: it only removes. Records are gone since the exam was retired.
--
-- KEYS[1]  string epoch        the shard's epoch and run
-- KEYS[2]  string origin       <epoch>-<version> the recovery goes on from, or none
-- KEYS[3]  string version      counts the shard's steps
-- KEYS[4]  hash   definition   the definition in force
-- KEYS[5]  hash   capacity     venue/subject -> seats
-- KEYS[6]  hash   remaining    venue/subject -> seats
-- KEYS[7]  hash   held         venue/subject -> seats
-- KEYS[8]  hash   confirming   venue/subject -> seats
-- KEYS[9]  hash   confirmed    venue/subject -> seats
-- KEYS[10] hash   claims       candidate/session -> serial
-- KEYS[11] hash   key_held     key/venue/subject -> seats in unpaid holds
-- KEYS[12] hash   unpaid       candidate -> holds that ended unpaid|last end (ms)
-- KEYS[13] zset   due          serial by the time (ms) it may expire
-- KEYS[14] zset   pinned       serial by the time (ms) its attempt began
-- KEYS[15] set    spent        serials of reservations that have ended
-- KEYS[16] stream journal      one entry a step
-- KEYS[17] hash   room         epoch, last number handed out, limit of its block; draw_closed; claims
-- KEYS[18] zset   queue        candidate by number, until its turn has passed
-- KEYS[19] string drawn        HyperLogLog of the candidates in the draw
-- KEYS[20] zset   places       candidate by the time (ms) the place is free again
-- KEYS[21] hash   passes       candidate -> the last pass
-- KEYS[22] hash   signals      process -> time (ms) of its report|the report
-- KEYS[23] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[24] hash   aside        venue/subject -> seats left in its set-asides
-- KEYS[25] hash   aside_left   set-aside/venue/subject -> seats left, while it is on
-- KEYS[26] hash   code_uses    code of a set-aside -> reservations made with it
-- KEYS[27] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[28] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[29] hash   list         serial of a waiting entry -> what it wants
-- KEYS[30] hash   offers       serial of a hold -> the entry it was offered to
-- KEYS[31] hash   extended     serial of a hold -> the extension that moved its deadline
-- KEYS[32] hash   aside_seats  set-aside/venue/subject -> seats kept for it, while it is on
--
-- ARGV[1] fence of the recovery, <epoch>/recovery@<run>
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, fence = KEYS[1], ARGV[1]

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
redis.call('UNLINK', epoch_key, KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8],
  KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16], KEYS[17],
  KEYS[18], KEYS[19], KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24], KEYS[25], KEYS[26],
  KEYS[27], KEYS[28], KEYS[29], KEYS[30], KEYS[31], KEYS[32])
return { DONE }
