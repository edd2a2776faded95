-- What the room shows to everybody.
--
-- Returns {'ok', lobby, head, waiting, active, rate per second, paused 0|1, available, version} · {'no_room'}
if not room then return { 'no_room' } end

local lobby = room.opened == 1 and room.drawn or call('ZCARD', LINE)
local waiting = room.closed == 1 and 0 or call('HLEN', PLACES) - room.away
return {
  'ok', int(lobby), int(room.head), int(waiting), int(active()), int(room.rate), int(ledger.paused), int(ledger.available),
  int(ledger.version),
}
