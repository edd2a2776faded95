-- Asks whether the ledger is there and of this epoch, and a promo's room with it: one without the other sells nothing, as
-- when who built them died in between.
--
-- Returns {'ok'} · {'no_room'} · or what the fence returns
if is_promo() and call('EXISTS', ROOM) == 0 then return { 'no_room' } end
return { 'ok' }
