-- requests: makes wrk send the requests of a file in turn, and print what it counted as JSON.
-- Why a script: no two orders may have a candidate or an idempotency key in common, and a prepared
-- payment may be sent only once. Answers are not looked at here, as that would cost the client more
-- than the server spends on some of them: wrk itself counts those that are refusals, and the
-- service's own counters say what they were.
--
-- args[1] a file of whole requests, separated by a NUL byte. `{n}` in it is replaced by the number
--         of the request, of 8 digits, which is never the same twice in one run.

local requests = {}
local at, number = 0, 0

local function parts_of(request)
  local parts, from = {}, 1
  while true do
    local first, last = string.find(request, '{n}', from, true)
    parts[#parts + 1] = string.sub(request, from, first and first - 1)
    if not first then
      return parts
    end
    from = last + 1
  end
end

function init(args)
  local file = assert(io.open(args[1], 'rb'))
  for request in string.gmatch(file:read('*a'), '[^%z]+') do
    requests[#requests + 1] = parts_of(request)
  end
  file:close()
end

function request()
  at = at % #requests + 1
  number = number + 1
  return table.concat(requests[at], string.format('%08d', number))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
