-- Forgets the fates of a writer's batches below a number, and refuses them for ever.
--
-- KEYS: the writer's record. ARGV: the number, for how many seconds the record is kept.
local writer = KEYS[1]
local before = redis.call('HGET', writer, 'gate')
if before then
    local gate = math.max(tonumber(before), tonumber(ARGV[1]))
    for _, field in ipairs(redis.call('HKEYS', writer)) do
        local sequence = tonumber(field)
        if sequence and sequence < gate then
            redis.call('HDEL', writer, field)
        end
    end
    redis.call('HSET', writer, 'gate', string.format('%.0f', gate))
    redis.call('EXPIRE', writer, ARGV[2])
end
