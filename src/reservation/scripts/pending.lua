-- Reservations without a verdict.
--
-- ARGV  orders
-- Returns {'ok', then for each order its reservation as text or ''}
local found = { 'ok' }

for at = OWN, #ARGV do
  local pending = pending_of(ARGV[at])
  found[#found + 1] = pending and pending.text or ''
end
return found
