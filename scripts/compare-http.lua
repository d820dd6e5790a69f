-- What one wrk run sends: increments of random keys by random values.
--
-- Each value is ten billion and a random number below a thousand, so that a sum tells how many
-- increments it is made of, and what they are apart from that.

local EACH = 10000000000
local KEYS = tonumber(os.getenv("KEYS") or 10000)
local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("seed", os.time() * 100 + #threads)
end

function init()
    math.randomseed(seed)
    sent, random_sum = 0, 0
end

function request()
    local random = math.random(0, 999)
    sent, random_sum = sent + 1, random_sum + random
    local body = string.format('{"key": "key %d", "value": %.0f}', math.random(KEYS), EACH + random)
    return wrk.format("POST", "/increment", nil, body)
end

function done(summary, latency)
    local sent, random_sum = 0, 0
    for _, thread in ipairs(threads) do
        sent, random_sum = sent + thread:get("sent"), random_sum + thread:get("random_sum")
    end
    local errors = summary.errors
    io.write(string.format(
        'JSON {"seconds": %.6f, "answered": %d, "refused": %d, "socket_errors": %d, "sent": %d, ' ..
        '"random_sum": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
        summary.duration / 1e6, summary.requests, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout, sent,
        random_sum, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
