-- Takes units out of the pool that nobody holds and that stand behind nobody's pass.
--
-- ARGV  [4] the operation's own id · [5] units
-- Returns {'ok'} · {'insufficient', units that could be taken} nothing was taken
-- Invariant: initial = available + pending + sold. The same operation counts once.
local units = tonumber(ARGV[OWN + 1])
local free = math.max(ledger.available - (room and active() or 0), 0)

if was_done then return { 'ok' } end
if units > free then return { 'insufficient', int(free) } end
ledger.initial = ledger.initial - units
ledger.available = ledger.available - units
ledger.version = ledger.version + 1
save_ledger()
remember_operation()
return { 'ok' }
