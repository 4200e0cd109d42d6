#!lua
-- note_extended: notes which holds an extension has moved, or that it is done and its notes are not
-- needed any more.
-- Why atomic: a process that goes on with an extension which another one has finished must find
-- either the notes or the mark.
--
-- KEYS[1] string epoch        the shard's epoch
-- KEYS[2] hash   extended     serial -> the extension that moved it last; done: those that are done
--
-- ARGV[1] fence the caller knows, <epoch>@<run>
-- ARGV[2] extension: its number
-- ARGV[3] is_done: 1 when it and all before it are done, 0 otherwise
-- ARGV[4] the serials it has moved
--
-- Returns {DONE} or {NOT_READY}.
-- @include codes
-- @include shard

local epoch_key, extended_key = KEYS[1], KEYS[2]
local fence, extension, is_done = ARGV[1], ARGV[2], ARGV[3]
local FIXED_ARGS = 3

if not is_open(epoch_key, fence) then
  return { NOT_READY }
end
if is_done == '1' then
  redis.call('UNLINK', extended_key)
  redis.call('HSET', extended_key, 'done', extension)
  return { DONE }
end
local notes = {}
for i = FIXED_ARGS + 1, #ARGV do
  notes[#notes + 1] = ARGV[i]
  notes[#notes + 1] = extension
end
redis.call('HSET', extended_key, unpack(notes))
return { DONE }
