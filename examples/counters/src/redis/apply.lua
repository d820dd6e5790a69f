-- Applies a batch, unless its fate is recorded. Follows `add.lua`.
--
-- KEYS: the totals, the writer's record. ARGV: the sequence, for how many seconds the record is kept,
-- then key and delta by turns. Returns the batch's fate, or `unknown`, or what `add` returned.
local totals, writer, sequence = KEYS[1], KEYS[2], ARGV[1]
local fate = redis.call('HGET', writer, sequence)
if fate then
    return { fate }
end
if not is_known(writer, sequence) then
    return { 'unknown' }
end
local changes = {}
for i = 3, #ARGV, 2 do
    changes[#changes + 1] = { ARGV[i], ARGV[i + 1] }
end
local refused = add(totals, changes)
if refused then
    return refused
end
redis.call('HSET', writer, sequence, 'applied')
redis.call('EXPIRE', writer, ARGV[2])
return { 'applied' }
