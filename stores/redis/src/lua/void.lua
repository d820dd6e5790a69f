-- Takes an id out of use, unless its fate is recorded.
--
-- KEYS: the writer's record. ARGV: the sequence, for how many seconds the record is kept. Returns the batch's fate.
local writer, sequence = KEYS[1], ARGV[1]
local gate = redis.call('HGET', writer, 'gate')
if not gate then
    return 'unregistered'
end
local fate = redis.call('HGET', writer, sequence)
if fate then
    return fate
end
if tonumber(sequence) < tonumber(gate) then
    return 'settled'
end
redis.call('HSET', writer, sequence, 'void')
redis.call('EXPIRE', writer, ARGV[2])
return 'void'
