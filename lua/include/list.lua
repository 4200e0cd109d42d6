-- list: the entries that wait, and how many of them want each quota. An entry is one text, its parts
-- separated by '|', ids within a part by ','. It has no number until Postgres has it.
local LIST_NUMBER, LIST_SUBJECTS, LIST_SESSIONS, LIST_VENUES = 1, 3, 4, 5

-- The parts of the text of an entry.
local function read_entry(text)
  return { string.match(text, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)$') }
end

-- The quotas an entry wants: venue/subject.
local function quotas_of(entry)
  local fields = {}
  for venue in string.gmatch(entry[LIST_VENUES], '[^,]+') do
    for subject in string.gmatch(entry[LIST_SUBJECTS], '[^,]+') do
      fields[#fields + 1] = venue .. '/' .. subject
    end
  end
  return fields
end

-- What an entry is counted under: its quotas, and its sessions at each of its venues as venue//session,
-- also while no ceiling is over them: an entry is counted out by what it was counted in by.
local function wanted_by(entry)
  local fields = quotas_of(entry)
  for venue in string.gmatch(entry[LIST_VENUES], '[^,]+') do
    for session in string.gmatch(entry[LIST_SESSIONS], '[^,]+') do
      fields[#fields + 1] = venue .. '//' .. session
    end
  end
  return fields
end

-- How many entries want the quota of an entry that most want, and which quota that is.
local function most_wanted_by(wanted_key, entry)
  local quotas, longest, most_wanted = quotas_of(entry), 0, ''
  for i, count in ipairs(redis.call('HMGET', wanted_key, unpack(quotas))) do
    if tonumber(count or 0) > longest then
      longest, most_wanted = tonumber(count), quotas[i]
    end
  end
  return longest, most_wanted
end

-- Adds `more` to how many entries want what an entry wants.
local function count_wanted(wanted_key, entry, more)
  local fields = wanted_by(entry)
  local counts = redis.call('HMGET', wanted_key, unpack(fields))
  local counted, gone = {}, {}
  for i, field in ipairs(fields) do
    local count = tonumber(counts[i] or 0) + more
    if count > 0 then
      counted[#counted + 1] = field
      counted[#counted + 1] = string.format('%d', count)
    else
      gone[#gone + 1] = field
    end
  end
  if #counted > 0 then
    redis.call('HSET', wanted_key, unpack(counted))
  end
  if #gone > 0 then
    redis.call('HDEL', wanted_key, unpack(gone))
  end
end
