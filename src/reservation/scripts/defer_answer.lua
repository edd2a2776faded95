-- Leaves it to the verdict to say "accepted" first.
--
-- ARGV  [4] order
-- Returns {'ok', '1'} · {'ok', '0'} the order is settled already
local order = ARGV[OWN]

if call('HEXISTS', PENDING, order) == 0 then return { 'ok', '0' } end
call('SADD', DEFERRED, order)
return { 'ok', '1' }
