-- Forgets the fates of a writer's batches below a number, and refuses them for ever.
--
-- KEYS: the writer's record. ARGV: the number, the epoch, for how many seconds the record is kept.
local writer = KEYS[1]
local highest = redis.call('HGET', writer, 'epoch')
if highest and tonumber(highest) <= tonumber(ARGV[2]) then
    local before = redis.call('HGET', writer, 'gate')
    local gate = math.max(tonumber(before), tonumber(ARGV[1]))
    for _, field in ipairs(redis.call('HKEYS', writer)) do
        local sequence = tonumber(field)
        if sequence and sequence < gate then
            redis.call('HDEL', writer, field)
        end
    end
    redis.call('HSET', writer, 'gate', string.format('%.0f', gate))
    if tonumber(highest) == 1 then
        redis.call('EXPIRE', writer, ARGV[3])
    end
end
