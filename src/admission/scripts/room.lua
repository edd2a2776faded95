-- The waiting room, and where a shopper stands.
--
-- LINE holds lobby and line in one order: a lobby member is the user, its score the key in the draw; later ones are
-- "user:number" with a score above every key. The opening therefore moves nothing: a lobby place's number is its rank + 1.
-- From the opening on a member stays where it is, and a place is held while PLACES has it under that number: 0 for a lobby
-- place, whose rank says it. Later members that were given up are taken out when they are called: `trimmed` counts them.
-- No step of any script looks at more than a bounded number of places.
local AFTER_THE_DRAW = 4503599627370496 -- 2^52
local USER_LENGTH = 19
local ROOM_NUMBERS = {
  'rate', 'max_active', 'pass_ttl', 'grace', 'max_unsettled', 'max_places', 'opened', 'announced', 'drawn', 'head', 'trimmed',
  'away', 'tokens', 'stopped', 'untold', 'last_tick', 'seen_from', 'closed', 'sent_home',
}
local ROOM_STATE = {
  'opened', 'announced', 'drawn', 'head', 'trimmed', 'away', 'tokens', 'stopped', 'untold', 'last_tick', 'seen_from',
  'closed', 'sent_home',
}
local PHASES = {
  pending = 'pending', awaiting_payment = 'confirmed', paid = 'confirmed', rejected = 'rejected',
  cancelled = 'none', expired = 'none',
}
local stored_room = read(ROOM, ROOM_NUMBERS)
-- The room of an earlier ledger is not open until open_room says so.
local room = stored_room.epoch == EPOCH and stored_room or nil

local function save_room()
  write(ROOM, room, ROOM_STATE)
end

local function quoted(word)
  return word and '"' .. word .. '"' or 'null'
end

local function json(parts)
  return '[' .. table.concat(parts, ',') .. ']'
end

-- The user's id without leading zeros.
local function bare(user)
  return (string.gsub(user, '^0+', ''))
end

-- Live passes.
local function active()
  return room.closed == 1 and 0 or call('ZCARD', PASSES)
end

-- Number and end (in room time) of the shopper's pass.
local function pass_of(user)
  local number = room and room.closed == 0 and score(PASSES, user)
  if number then return tonumber(number), tonumber(score(EXPIRY, user)) end
end

local function has_pass(user, now)
  local expires_at = room and room.closed == 0 and score(EXPIRY, user)
  return expires_at and tonumber(expires_at) > now - room.stopped
end

-- Uses up the shopper's pass, if they hold one.
local function take_pass(user)
  if not pass_of(user) then return false end
  call('ZREM', PASSES, user)
  call('ZREM', EXPIRY, user)
  note(PASSES, user, false)
  note(EXPIRY, user, false)
  return true
end

-- A place: number as stored, when its shopper was seen, whether it was passed over.
local function read_place(record)
  if not record then return nil end
  local number, seen, passed_over = string.match(record, '^(%S+) (%S+) (%S+)$')
  local seen_at = math.max(tonumber(seen), room.seen_from or -math.huge)
  return { stored = tonumber(number), seen = seen_at, passed_over = passed_over == '1' }
end

local function place_text(place)
  return int(place.stored) .. ' ' .. int(place.seen) .. (place.passed_over and ' 1' or ' 0')
end

-- The shopper's place.
local function place_of(user)
  return room and room.closed == 0 and read_place(field(PLACES, user)) or nil
end

local function save_place(user, place)
  call('HSET', PLACES, user, place_text(place))
  note(PLACES, user, place_text(place))
end

local function number_of(user, place)
  return place.stored > 0 and place.stored or call('ZRANK', LINE, user) + 1
end

-- Numbers the lobby once the promo has started.
local function open_if_due(now)
  if room.opened == 0 and now >= ledger.starts_at then
    room.opened, room.drawn = 1, call('ZCARD', LINE)
  end
end

-- Notes that the shopper is connected; a place that was passed over is claimed again.
local function see(user, now)
  local place = place_of(user)
  if not place then return end
  if place.passed_over then
    room.away = room.away - 1
    call('ZADD', RETURNED, int(number_of(user, place)), user)
  end
  save_place(user, { stored = place.stored, seen = math.max(place.seen, now), passed_over = false })
end

-- Gives up the shopper's place or pass. false: they had neither.
local function leave(user)
  if take_pass(user) then return true end
  local place = place_of(user)
  if not place then return false end
  if room.opened == 0 then
    call('ZREM', LINE, user)
  elseif number_of(user, place) <= room.head then
    if place.passed_over then room.away = room.away - 1 end
    call('ZREM', RETURNED, user)
  end
  call('HDEL', PLACES, user)
  note(PLACES, user, false)
  return true
end

local function state(user, phase, number, ahead, expires_at, order, status, reason)
  return json({
    '"s"', bare(user), quoted(phase), number and int(number) or 'null', ahead and int(ahead) or 'null',
    expires_at and int(expires_at) or 'null', quoted(order), quoted(status), quoted(reason),
  })
end

-- Where a shopper without a place stands: at their latest order. `gone`: why a place went, if one did.
local function standing_without_place(user, gone)
  local order, status, reason = last_of(user)
  local phase = order and PHASES[status] or 'none'
  if not order and ledger.ended == 1 then reason = 'ended' end
  return state(user, phase, nil, nil, nil, order, status, phase == 'none' and gone or reason)
end

-- Where the shopper stands, as an event: their place or pass, or else their latest order.
local function standing(user)
  local number, expires_at = pass_of(user)
  if number then return state(user, 'admitted', number, 0, expires_at + room.stopped) end
  local place = place_of(user)
  if place and room.opened == 0 then return state(user, 'lobby') end
  if place then
    number = number_of(user, place)
    return state(user, 'queued', number, math.max(number - room.head - 1, 0))
  end
  return standing_without_place(user)
end
