#!lua
-- begin_dealing: lets no other leader than this one deal, and says which offers are not finished.
-- Why atomic: an offer of the leader before must be among them, or be refused from now on.
--
-- KEYS[1] string epoch      the shard's epoch
-- KEYS[2] hash   offers     serial of a hold -> the entry it was offered to
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] number of the leader's epoch
--
-- Returns {DONE, clock (ms), serial of a hold, serial of its entry, …}
--         {IN_PROGRESS, its epoch}   another leader has begun since
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include dealing

local epoch_key, offers_key = KEYS[1], KEYS[2]
local fence, leader = ARGV[1], tonumber(ARGV[2])

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
local last = last_leader(offers_key)
if last > leader then
  return { IN_PROGRESS, last }
end
redis.call('HSET', offers_key, 'leader', leader)
local answer = { DONE, clock_ms() }
local offers = redis.call('HGETALL', offers_key)
for i = 1, #offers, 2 do
  if offers[i] ~= 'leader' then
    answer[#answer + 1] = offers[i]
    answer[#answer + 1] = offers[i + 1]
  end
end
return answer
