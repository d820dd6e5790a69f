-- Adds to totals, all or none. Redis keeps what a script wrote before an error, so it is put back
-- here. Nobody sees it meanwhile: a script has Redis to itself.
--
-- The sums are made by Redis, in 64 bits: Lua's own numbers are floats.
--
-- `changes` is a list of key and delta. Returns nothing, or why nothing was added.
local function add(totals, changes)
    local before = {}
    for n, change in ipairs(changes) do
        before[n] = redis.call('HGET', totals, change[1])
        local sum = redis.pcall('HINCRBY', totals, change[1], change[2])
        if type(sum) == 'table' then
            for undone = n - 1, 1, -1 do
                if before[undone] then
                    redis.call('HSET', totals, changes[undone][1], before[undone])
                else
                    redis.call('HDEL', totals, changes[undone][1])
                end
            end
            -- Anything else, such as no memory left, is no fault of the key.
            local at_fault = sum.err:find('overflow', 1, true) or sum.err:find('not an integer', 1, true)
            return { at_fault and 'data' or 'trouble', change[1], sum.err }
        end
    end
end

-- Whether a batch with this number may count, if nothing is recorded of it.
local function is_known(writer, sequence)
    local settled_below = redis.call('HGET', writer, 'settled_below')
    return settled_below and tonumber(sequence) >= tonumber(settled_below)
end
