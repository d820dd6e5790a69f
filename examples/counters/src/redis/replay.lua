-- Applies dead letters, all or none. Follows `add.lua`.
--
-- KEYS: the totals, then for each letter its own record and that of its batch's writer. ARGV: for how
-- many seconds a letter's record is kept, then for each letter key, value, and its batch's sequence or
-- nothing. Returns what became of each, or what `add` returned.
local totals, kept_for = KEYS[1], ARGV[1]
local outcomes, changes, added = {}, {}, {}
for n = 1, (#KEYS - 1) / 2 do
    local letter, writer = KEYS[2 * n], KEYS[2 * n + 1]
    local key, value, sequence = ARGV[3 * n - 1], ARGV[3 * n], ARGV[3 * n + 1]
    local fate = sequence ~= '' and redis.call('HGET', writer, sequence)
    if added[letter] or redis.call('EXISTS', letter) == 1 or fate == 'applied' then
        outcomes[n] = 'was there'
    elseif sequence ~= '' and not fate and not is_known(writer, sequence) then
        outcomes[n] = 'cannot tell'
    else
        outcomes[n] = 'added'
        changes[#changes + 1] = { key, value }
        added[letter] = { writer, sequence }
    end
end
local refused = add(totals, changes)
if refused then
    return refused
end
for letter, batch in pairs(added) do
    redis.call('SET', letter, 1, 'EX', kept_for)
    if batch[2] ~= '' then
        redis.call('HSETNX', batch[1], batch[2], 'void')
    end
end
return outcomes
