-- What wrk sends, and what it keeps of the answers. Told by the environment (see bench/wrk.py):
-- the method, the headers (one a line), the body; instead of the one body or Authorization header,
-- a file with one for each request; and a file that takes every answer, to be judged afterwards.

local function lines_of(text)
  local found = {}
  for line in text:gmatch("[^\n]+") do found[#found + 1] = line end
  return found
end

wrk.method = os.getenv("BENCH_METHOD")
for _, header in ipairs(lines_of(os.getenv("BENCH_HEADERS") or "")) do
  local name, value = header:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
local body = os.getenv("BENCH_BODY")
if body and body ~= "" then wrk.body = body end

local varied, kind = os.getenv("BENCH_VARIED_FILE"), os.getenv("BENCH_VARIED_KIND")
if varied then
  local requests, turn = {}, 0

  function init()
    for line in io.lines(varied) do
      if kind == "body" then
        requests[#requests + 1] = wrk.format(nil, nil, nil, line)
      else
        wrk.headers["Authorization"] = line
        requests[#requests + 1] = wrk.format()
      end
    end
  end

  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

local answers = os.getenv("BENCH_ANSWERS_FILE")
if answers then
  local file

  function response(status, _, text)
    file = file or io.open(answers, "wb")
    file:write(status, " ", #text, "\n", text, "\n")
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
