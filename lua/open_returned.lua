#!lua flags=allow-oom
-- open_returned: puts returned seats that no waiting entry can use on open sale.
-- Why atomic: seats and place must move together; and an entry that joined after the plan was made must
-- find the seats where it is dealt them, not on sale.
-- It may run when Redis is full: it moves seats.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string version      counts the shard's steps
-- KEYS[3] hash   remaining    venue/subject -> seats
-- KEYS[4] hash   returned     venue/subject -> seats that wait for the next allocation
-- KEYS[5] hash   ceiling_left venue/session -> seats left under its ceiling
-- KEYS[6] hash   wanted       venue/subject -> entries of the waiting list that want it
-- KEYS[7] hash   offers       serial of a hold -> the entry it was offered to
-- KEYS[8] hash   definition   the definition in force
-- KEYS[9] stream journal      one entry a step
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] revision of the definition the caller goes by
-- ARGV[3] number of the leader's epoch
-- ARGV[4] by: who asked, <key id>/<request id>
-- ARGV[5] each quota: venue/subject, venue/session of its ceiling or '', the seats at most, and the
--         numbers of entries that the plan has seen waiting for the quota and for the place
--
-- Returns {DONE, seats opened, venue/subject that more entries wait for, …}
--         {IN_PROGRESS, its epoch}   another leader has begun since
--         {STALE}         another definition is in force than the caller knows
--         {NOT_READY}
-- @include codes
-- @include shard
-- @include definition
-- @include journal
-- @include dealing

local epoch_key, version_key, remaining_key, returned_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ceiling_left_key, wanted_key, offers_key = KEYS[5], KEYS[6], KEYS[7]
local definition_key, journal_key = KEYS[8], KEYS[9]
local fence, revision, leader, by = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local FIXED_ARGS, WORDS = 4, 5

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if is_stale(definition_key, revision) then
  return { STALE }
end
local last = last_leader(offers_key)
if last > leader then
  return { IN_PROGRESS, last }
end

-- How many entries wait for a quota, or for a place as venue//session.
local function waiting_for(field)
  return tonumber(redis.call('HGET', wanted_key, field) or 0)
end

local now_ms = clock_ms()
local answer, opened = { DONE, 0 }, {}
for at = FIXED_ARGS + 1, #ARGV, WORDS do
  local quota, place = ARGV[at], ARGV[at + 1]
  local seats, for_quota, for_place = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local has_more = waiting_for(quota) > for_quota
  if place ~= '' and not has_more then
    has_more = waiting_for((string.gsub(place, '/', '//', 1))) > for_place
  end
  local present = tonumber(redis.call('HGET', returned_key, quota) or 0)
  local count = math.min(seats, present)
  if has_more then
    answer[#answer + 1] = quota
  elseif count > 0 then
    opened[#opened + 1] = { quota = quota, place = place, seats = count, left = present - count }
    answer[2] = answer[2] + count
  end
end
if #opened == 0 then
  return answer
end

local version = redis.call('INCRBY', version_key, #opened) - #opened
for n, each in ipairs(opened) do
  if each.left > 0 then
    redis.call('HSET', returned_key, each.quota, each.left)
  else
    redis.call('HDEL', returned_key, each.quota)
  end
  redis.call('HINCRBY', remaining_key, each.quota, each.seats)
  if each.place ~= '' then
    redis.call('HINCRBY', ceiling_left_key, each.place, each.seats)
  end
  append_as(version + n, journal_key, fence, by, 'open', each.quota, now_ms, each.seats,
    'returned', each.quota .. '=' .. each.left)
end
return answer
