-- Gives shoppers a place, unless they have one, may not order any more, or the promo is over.
--
-- ARGV  for each shopper: user, key in the draw, now
-- Returns {'ok', then for each shopper 'full' or the standing}
-- Invariant: the lobby ends at the start to the millisecond; numbers count from 1 without gaps and never change.
-- Tells whose standing changed, for the other nodes.
local FIELDS = 3
local answers = { 'ok' }

-- The line is bounded too, or joining and leaving in turn would grow it without end.
local function is_full()
  local in_line = room.opened == 1 and call('ZCARD', LINE) - (room.head - room.trimmed) or 0
  return call('HLEN', PLACES) >= room.max_places or in_line >= 2 * room.max_places
end

-- 'kept', 'full' or 'joined'
local function join(user, key, now)
  if not room or room.closed == 1 or is_over(now) or not may_order(user) then return 'kept' end
  open_if_due(now)
  if pass_of(user) then return 'kept' end
  if place_of(user) then
    see(user, now)
    return 'kept'
  end
  if is_full() then return 'full' end
  local number = room.opened == 1 and call('ZCARD', LINE) + room.trimmed + 1 or 0
  local member = number > 0 and user .. ':' .. int(number) or user
  call('ZADD', LINE, number > 0 and int(AFTER_THE_DRAW + number) or key, member)
  save_place(user, { stored = number, seen = now, passed_over = false })
  return 'joined'
end

for at = OWN, #ARGV, FIELDS do
  local user, key, now = unpack(ARGV, at, at + FIELDS - 1)
  local how = join(user, key, tonumber(now))
  local stands = how == 'full' and how or standing(user)
  if how == 'joined' then tell(stands) end
  answers[#answers + 1] = stands
end
if room then save_room() end
publish(NODE)
return answers
