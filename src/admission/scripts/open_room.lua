-- Opens the promo's waiting room.
--
-- ARGV  [4] the draw's name · [5] rate per second · [6] passes at most · [7] pass time, ms · [8] grace time, ms
--       [9] unsettled reservations at which calling stops · [10] places at most
-- Returns {'open'} it is fresh, or was open under this ledger and has new settings
--         {'resume'} the same draw's room of an earlier ledger is there: it opens when resume_room has seen to it
-- Invariant: places of this draw are never thrown away, places of another are never kept.
local draw, rate, max_active, pass_ttl, grace, max_unsettled, max_places = unpack(ARGV, OWN, OWN + 6)
local is_of_this_draw = stored_room.draw == draw
local settings = {
  'draw', draw, 'rate', rate, 'max_active', max_active, 'pass_ttl', pass_ttl, 'grace', grace,
  'max_unsettled', max_unsettled, 'max_places', max_places,
}

if not is_of_this_draw then
  call('UNLINK', ROOM, LINE, PLACES, RETURNED, PASSES, EXPIRY)
  room = {
    opened = 0, announced = 0, drawn = 0, head = 0, trimmed = 0, away = 0, tokens = 0, stopped = 0, untold = 0, closed = 0,
    sent_home = 0,
  }
  save_room()
  call('HSET', ROOM, 'epoch', EPOCH)
end
call('HSET', ROOM, unpack(settings))
return { (room or not is_of_this_draw) and 'open' or 'resume' }
