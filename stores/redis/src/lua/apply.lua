-- Applies a batch, unless its fate is recorded. Follows a function `write`.
--
-- KEYS: the writer's record, then those of `write`. ARGV: the sequence, the epoch, for how many seconds the record is
-- kept, then those of `write`. Returns the batch's fate.
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
local keys, args = {}, {}
for n = 2, #KEYS do
    keys[n - 1] = KEYS[n]
end
for n = 4, #ARGV do
    args[n - 3] = ARGV[n]
end
local went_well, refused = pcall(write, keys, args)
if not went_well then
    if type(refused) == 'table' then
        refused = refused.err
    end
    return redis.error_reply('WRITE ' .. tostring(refused))
end
fate = 'applied'
if refused and #refused > 0 then
    fate = 'except'
    for _, entry in ipairs(refused) do
        fate = fate .. '\n' .. string.format('%d', entry[1]) .. ' ' .. tostring(entry[2]):gsub('[\r\n]', ' ')
    end
end
redis.call('HSET', writer, sequence, fate)
-- What was started again may come back, and is kept.
if tonumber(epoch) == 1 then
    redis.call('EXPIRE', writer, ARGV[3])
end
return fate
