-- The pool's units at one instant.
--
-- Returns {'ok', initial, available, pending, sold, holds, version}
local holds = room and active() or 0

return {
  'ok', int(ledger.initial), int(ledger.available), int(ledger.pending), int(ledger.sold), int(holds), int(ledger.version),
}
