-- Takes an id out of use, unless its fate is recorded.
--
-- KEYS: the writer's record. ARGV: the sequence, the epoch, for how many seconds the record is kept. Returns the
-- batch's fate.
local writer, sequence, epoch = KEYS[1], ARGV[1], ARGV[2]
local highest = redis.call('HGET', writer, 'epoch')
if not highest or tonumber(highest) < tonumber(epoch) then
    return 'unregistered'
end
if tonumber(highest) > tonumber(epoch) then
    return 'superseded ' .. highest
end
local fate = redis.call('HGET', writer, sequence)
if fate then
    return fate
end
if tonumber(sequence) < tonumber(redis.call('HGET', writer, 'gate')) then
    return 'settled'
end
redis.call('HSET', writer, sequence, 'void')
-- What was started again may come back, and is kept.
if tonumber(epoch) == 1 then
    redis.call('EXPIRE', writer, ARGV[3])
end
return 'void'
