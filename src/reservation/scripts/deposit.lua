-- Adds fresh units.
--
-- ARGV  [4] the operation's own id · [5] units
-- Returns {'ok'}
-- Invariant: initial = available + pending + sold. The same operation counts once.
local units = tonumber(ARGV[OWN + 1])

if was_done then return { 'ok' } end
ledger.initial = ledger.initial + units
ledger.available = ledger.available + units
ledger.version = ledger.version + 1
save_ledger()
remember_operation()
return { 'ok' }
