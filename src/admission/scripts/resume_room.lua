-- Lets the room of an earlier ledger go on, in bounded steps: room time stood still since the last tick, and everybody
-- has the whole grace time to come back.
--
-- ARGV  [4] where the last step ended, '0' at first
-- Returns {'more', where this step ended} · {'open'}
-- Invariant: who may not order any more, or has ordered since the last tick, has no place; there are no more passes than
-- units: the last ones called go back to the head of the line.
local AT_ONCE = 64
local cursor = ARGV[OWN]

if room then return { 'open' } end
room = stored_room

-- Only who has an order in the ledger can have lost the right to a place.
local function look_at_shoppers()
  local next_cursor, found = unpack(call('HSCAN', LAST, cursor, 'COUNT', AT_ONCE))
  for at = 1, #found, 2 do
    local user = found[at]
    local _, _, _, made_at = last_of(user)
    local has_ordered_since = not room.last_tick or tonumber(made_at) >= room.last_tick
    if has_ordered_since or not may_order(user) then leave(user) end
  end
  save_room()
  return next_cursor
end

local function send_back(passes)
  for at = 1, #passes, 2 do
    local user, number = passes[at], tonumber(passes[at + 1])
    take_pass(user)
    save_place(user, { stored = number, seen = NOW, passed_over = false })
    call('ZADD', RETURNED, int(number), user)
  end
end

-- The lobby is numbered with those who are gone: their numbers were given out.
if cursor == '0' then open_if_due(NOW) end
if cursor ~= 'passes' then
  local next_cursor = look_at_shoppers()
  return { 'more', next_cursor == '0' and 'passes' or next_cursor }
end
local first = ledger.available
if room.closed == 0 then send_back(call('ZRANGE', PASSES, first, first + AT_ONCE - 1, 'WITHSCORES')) end
if active() > ledger.available then return { 'more', 'passes' } end
room.stopped = room.stopped + (room.last_tick and math.max(NOW - room.last_tick, 0) or 0)
room.last_tick, room.seen_from = NOW, math.max(room.seen_from or NOW, NOW)
save_room()
call('HSET', ROOM, 'epoch', EPOCH)
return { 'open' }
