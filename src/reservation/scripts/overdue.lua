-- Reservations without a verdict that are to be logged again.
--
-- ARGV  [4] those that are not known to be in the log: made before this instant · [5] those that are: before this
--       [6] how many of each at most
-- Returns {'ok', how many reservations the pool holds, then reservations as text}
local unlogged_before, logged_before, limit = ARGV[OWN], ARGV[OWN + 1], ARGV[OWN + 2]
local found = { 'ok', int(call('HLEN', PENDING)) }

for _, order in ipairs(call('ZRANGEBYSCORE', UNLOGGED, '-inf', '(' .. unlogged_before, 'LIMIT', 0, limit)) do
  found[#found + 1] = pending_of(order).text
end
for _, order in ipairs(call('ZRANGEBYSCORE', HELD, '-inf', '(' .. logged_before, 'LIMIT', 0, limit)) do
  if not call('ZSCORE', UNLOGGED, order) then found[#found + 1] = pending_of(order).text end
end
return found
