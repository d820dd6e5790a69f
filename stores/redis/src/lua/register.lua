-- Makes a writer known, with the highest epoch that it was ever started in.
--
-- KEYS: the writer's record. ARGV: the epoch, for how many seconds the record is kept. Returns the highest epoch.
local writer = KEYS[1]
redis.call('HSETNX', writer, 'gate', 0)
local highest = tonumber(redis.call('HGET', writer, 'epoch') or 0)
if tonumber(ARGV[1]) > highest then
    redis.call('HSET', writer, 'epoch', ARGV[1])
    highest = tonumber(ARGV[1])
end
-- What was started again may come back, and is kept.
if highest == 1 then
    redis.call('EXPIRE', writer, ARGV[2])
else
    redis.call('PERSIST', writer)
end
return highest
