-- Lets time act at ARGV[2]: numbers the lobby at the opening, lapses passes, calls places; sends everybody home at the end.
--
-- ARGV  [4] the order log: 'ready', 'behind' (nobody is called) or 'down' (room time stands still, too)
-- Returns {'ok', '1' if the opening is reported, '1' if passes end later than was told, '1' if there is perhaps more to do
--         at once, then changed standings}
-- Invariant: no more live passes than units left; `head` only grows; at most STEPS passes and places are acted on.
-- Tells those whose standing changed, or everybody if the room opened or passes moved.
local STEPS, PASS_COST = 64, 1000
local TELL_AFTER, TELL_EVERY = 1000, 5000
local log = ARGV[OWN]
local steps = STEPS

-- Tokens flow in with time, one second's passes at most.
local function fill(elapsed)
  room.tokens = math.min(math.max(room.rate * 1000, PASS_COST), room.tokens + elapsed * room.rate)
end

local function lapse()
  local lapsed = call('ZRANGEBYSCORE', EXPIRY, '-inf', int(NOW - room.stopped), 'LIMIT', 0, steps)
  if #lapsed > 0 then
    call('ZREM', EXPIRY, unpack(lapsed))
    call('ZREM', PASSES, unpack(lapsed))
  end
  steps = steps - #lapsed
  return lapsed
end

-- Who was passed over and came back, from the lowest number on.
local function next_returned(count)
  local found, places = call('ZPOPMIN', RETURNED, count), {}
  for at = 1, #found, 2 do
    places[#places + 1] = { user = found[at], number = tonumber(found[at + 1]), place = place_of(found[at]) }
  end
  return places
end

-- The next in line; one without a place has given it up.
local function next_in_line(count)
  local at = room.head - room.trimmed
  local members, users, places, given_up = call('ZRANGE', LINE, at, at + count - 1), {}, {}, {}
  if #members == 0 then return places end
  for nth, member in ipairs(members) do users[nth] = string.sub(member, 1, USER_LENGTH) end
  local records = call('HMGET', PLACES, unpack(users))
  for nth, member in ipairs(members) do
    local stored = tonumber(string.sub(member, USER_LENGTH + 2)) or 0
    local place = read_place(records[nth])
    if not place or place.stored ~= stored then
      place = nil
      if stored > 0 then given_up[#given_up + 1] = member end
    end
    places[nth] = { user = users[nth], number = room.head + nth, place = place }
  end
  if #given_up > 0 then call('ZREM', LINE, unpack(given_up)) end
  room.head, room.trimmed = room.head + #members, room.trimmed + #given_up
  return places
end

-- Calls these places, for each of which there is a pass. Adds the standings of those who are here to `admitted`.
local function call_places(places, admitted)
  local taken, passes, expiry, away = {}, {}, {}, {}
  local expires_at = int(NOW - room.stopped + room.pass_ttl)
  for _, called in ipairs(places) do
    local user, place = called.user, called.place
    if place and NOW - place.seen > room.grace then
      place.passed_over = true
      away[#away + 1], away[#away + 2] = user, place_text(place)
    elseif place then
      taken[#taken + 1] = user
      passes[#passes + 1], passes[#passes + 2] = int(called.number), user
      expiry[#expiry + 1], expiry[#expiry + 2] = expires_at, user
      admitted[#admitted + 1] = state(user, 'admitted', called.number, 0, NOW + room.pass_ttl)
    end
  end
  if #away > 0 then call('HSET', PLACES, unpack(away)) end
  if #taken > 0 then
    call('HDEL', PLACES, unpack(taken))
    call('ZADD', PASSES, unpack(passes))
    call('ZADD', EXPIRY, unpack(expiry))
  end
  room.away = room.away + #away / 2
  room.tokens = room.tokens - PASS_COST * #taken
  return #taken
end

-- Gives passes as far as the log, the bucket, the bounds, the stock and the steps allow. Returns the standings of who got one.
local function admit()
  local admitted, live, most = {}, active(), math.min(room.max_active, ledger.available)
  if log ~= 'ready' or call('HLEN', PENDING) >= room.max_unsettled then return admitted end
  while true do
    local count = math.min(steps, most - live, math.floor(room.tokens / PASS_COST))
    if count <= 0 then return admitted end
    local places = next_returned(count)
    if #places == 0 then places = next_in_line(count) end
    if #places == 0 then return admitted end
    steps = steps - #places
    live = live + call_places(places, admitted)
  end
end

-- Places and passes are gone at once; their shoppers are told in steps. Returns whom this step sends home.
local function send_home()
  if room.closed == 0 then
    room.closed, room.opened, room.away, room.sent_home = 1, 1, 0, 0
    call('UNLINK', RETURNED, EXPIRY)
  end
  local from, known, users = room.sent_home, {}, {}
  local members = call('ZRANGE', LINE, from, from + STEPS - 1)
  if #members == 0 then return users end
  for nth, member in ipairs(members) do known[nth] = string.sub(member, 1, USER_LENGTH) end
  local places, passes = call('HMGET', PLACES, unpack(known)), call('ZMSCORE', PASSES, unpack(known))
  local is_told = {}
  for nth, user in ipairs(known) do
    if (places[nth] or passes[nth]) and not is_told[user] then users[#users + 1], is_told[user] = user, true end
  end
  call('HDEL', PLACES, unpack(known))
  call('ZREM', PASSES, unpack(known))
  -- The lobby stays for the draw to be looked at, who joined later goes.
  local stay = math.max(math.min(#members, room.drawn - from), 0)
  if stay < #members then call('ZREMRANGEBYRANK', LINE, from + stay, from + #members - 1) end
  room.sent_home, steps = from + stay, STEPS - #members
  table.sort(users)
  return users
end

-- Whether passes end so much later than was told that it is time to tell.
local function passes_moved(waits_for_log, elapsed)
  room.untold = (room.untold or 0) + (waits_for_log and elapsed or 0)
  if room.untold < (waits_for_log and TELL_EVERY or TELL_AFTER) then return false end
  room.untold = 0
  return active() > 0
end

local function act()
  local elapsed = room.last_tick and math.max(NOW - room.last_tick, 0) or 0
  room.last_tick = math.max(room.last_tick or NOW, NOW)
  open_if_due(NOW)
  local opened = room.opened == 1 and room.announced == 0
  room.announced = room.opened
  local waits_for_log = ledger.paused == 0 and log == 'down'
  local moved = passes_moved(waits_for_log, elapsed)
  if ledger.paused == 1 or waits_for_log then
    room.stopped = room.stopped + elapsed
    return opened, moved, {}, {}
  end
  local lapsed, admitted = lapse(), {}
  if room.opened == 1 then
    fill(elapsed)
    admitted = admit()
  end
  return opened, moved, admitted, lapsed
end

if not room then return { 'ok', '0', '0', '0' } end
local is_end = room.closed == 1 or is_over(NOW)
local opened, moved, changed, gone = false, false, {}, {}
if is_end then gone = send_home() else opened, moved, changed, gone = act() end
save_room()

for _, user in ipairs(gone) do
  changed[#changed + 1] = standing_without_place(user, is_end and 'ended' or 'pass_expired')
end
if not opened then
  for _, stands in ipairs(changed) do tell(stands) end
end
if opened or moved then tell('["r"]') end
publish('')
return { 'ok', opened and '1' or '0', moved and '1' or '0', steps == 0 and '1' or '0', unpack(changed) }
