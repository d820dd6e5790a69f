-- Forgets a writer, unless it was started again.
--
-- KEYS: the writer's record. ARGV: the epoch.
local highest = redis.call('HGET', KEYS[1], 'epoch')
if highest and tonumber(highest) <= tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[1])
end
