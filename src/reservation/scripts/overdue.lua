-- Reservations without a verdict that are to be logged again, oldest first.
--
-- ARGV  [4] those that are not known to be in the log: made before this instant · [5] those that are: before this
--       [6] how many of each were looked at before · [7] how many of each to look at
-- Returns {'ok', how many reservations the pool holds, '1' if there are perhaps more, then reservations as text}
local unlogged_before, logged_before, from, limit = unpack(ARGV, OWN, OWN + 3)
local unlogged = call('ZRANGEBYSCORE', UNLOGGED, '-inf', '(' .. unlogged_before, 'LIMIT', from, limit)
local held = call('ZRANGEBYSCORE', HELD, '-inf', '(' .. logged_before, 'LIMIT', from, limit)
local is_full = math.max(#unlogged, #held) >= tonumber(limit)
local found = { 'ok', int(call('HLEN', PENDING)), is_full and '1' or '0' }

for _, order in ipairs(unlogged) do found[#found + 1] = pending_of(order).text end
for _, order in ipairs(held) do
  if not call('ZSCORE', UNLOGGED, order) then found[#found + 1] = pending_of(order).text end
end
return found
