#!lua flags=allow-oom
-- fence: closes a shard whose server is not the one it was opened in: it was restarted, or another
-- has taken its place, and may have lost steps that were acknowledged.
-- A rebuild that was at work may have lost what it wrote, so it is given up too.
-- Why atomic: between looking and closing, the shard could have been rebuilt and opened.
-- It is sent with its text, never by its hash: a server without our scripts is the sign to fence.
-- It may run when Redis is full: it only closes.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] string run          the run of the server the shard was opened in
-- KEYS[3] string building     the epoch under which the shard is being rebuilt
--
-- ARGV[1] run of the server, its run_id
--
-- Returns {DONE}         closed now, or not open
--         {DONE_BEFORE}  opened in this run: nothing was lost
-- @include codes

local epoch_key, run_key, building_key, run = KEYS[1], KEYS[2], KEYS[3], ARGV[1]

if redis.call('GET', run_key) == run then
  return { DONE_BEFORE }
end
redis.call('DEL', epoch_key)
redis.call('DEL', building_key)
return { DONE }
