-- Adds to one total. Follows `add.lua`.
--
-- KEYS: the totals. ARGV: key and delta.
return add(KEYS[1], { { ARGV[1], ARGV[2] } }) or { 'applied' }
