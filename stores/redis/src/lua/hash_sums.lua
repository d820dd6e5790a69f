-- Adds to hashes, an entry wholly or not at all. Redis keeps what a script wrote before an error, so it is put back
-- here. Nobody sees it meanwhile: a script has Redis to itself.
--
-- The sums are made by Redis, in 64 bits: Lua's own numbers are floats.
--
-- keys: the hashes. args: for each entry its field, and what is added to each hash.
local undo = {}
local function put_back(down_to)
    for n = #undo, down_to + 1, -1 do
        local hash, field, before = undo[n][1], undo[n][2], undo[n][3]
        if before then
            redis.call('HSET', hash, field, before)
        else
            redis.call('HDEL', hash, field)
        end
        undo[n] = nil
    end
end
local refused = {}
local width = #keys + 1
for first = 1, #args, width do
    local done = #undo
    for column, hash in ipairs(keys) do
        local field = args[first]
        local before = redis.pcall('HGET', hash, field)
        local sum = redis.pcall('HINCRBY', hash, field, args[first + column])
        if type(sum) == 'table' then
            local why = sum.err
            if why:find('overflow', 1, true) or why:find('not an integer', 1, true) then
                put_back(done)
                refused[#refused + 1] = { (first - 1) / width, why }
                break
            end
            -- No fault of the entry, such as a key of another type: as if nothing had been done.
            put_back(0)
            error(why, 0)
        end
        undo[#undo + 1] = { hash, field, before }
    end
end
return refused
