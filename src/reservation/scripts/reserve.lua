-- Checks orders in the contract's order of reasons, and takes the units of those that pass.
--
-- ARGV  for each order: order, request, user, quantity, reserved_at, price, reservation as text
-- Returns {'ok', then for each order three}: 'held', '', ''
--         'repeated', the first order, its reservation as text while it is not known to be in the log, or ''
--         'refused', reason, ''
-- Invariant: initial = available + pending + sold. A refused or repeated order took nothing. One unit stands behind each
-- pass: nobody takes a unit that stands behind another's. Tells the shopper of a promo that the order is pending.
local FIELDS, FORGET_PER_ORDER = 7, 2
local answers = { 'ok' }
-- What this call has done so far and has not written yet: orders by request and their texts, units of shoppers who hold
-- more now, shoppers whose pass is used up, and the passes that are left.
local made, texts, units, used, passes = {}, {}, {}, {}, room and active() or 0

local function answer(kind, first, second)
  for _, word in ipairs({ kind, first, second }) do answers[#answers + 1] = word end
end

-- The order that this request became before. What is older than the memory is forgotten for good, whatever clock comes next.
local function repeated(name, now)
  ledger.requests_from = math.max(ledger.requests_from or -math.huge, now - ledger.request_memory)
  local order, made_at = string.match(made[name] or field(REQUESTS, name) or '', '^(%S+) (%S+)$')
  return order and tonumber(made_at) >= ledger.requests_from and order
end

-- The order's reservation as text while it is not known to be in the log.
local function unlogged(order)
  return texts[order] or (call('ZSCORE', UNLOGGED, order) and pending_of(order).text) or ''
end

local function units_of(user)
  units[user] = units[user] or live_units(user)
  return units[user]
end

local function refusal(user, quantity, now)
  if is_promo() then
    if now < ledger.starts_at then return 'not_started' end
    if ledger.paused == 1 then return 'paused' end
    if is_over(now) then return 'ended' end
    if used[user] or not has_pass(user, now) then return 'no_pass' end
  end
  if ledger.per_user_limit and units_of(user) + quantity > ledger.per_user_limit then return 'limit_reached' end
  if quantity > math.max(ledger.available - math.max(passes - 1, 0), 0) then return 'sold_out' end
end

local function hold(order, request, user, quantity, now, price, text)
  local name, record = user .. ':' .. request, order .. ' ' .. now
  ledger.available = ledger.available - quantity
  ledger.pending = ledger.pending + quantity
  ledger.version = ledger.version + 1
  made[name], texts[order] = record, text
  gather('HSET', PENDING, order, table.concat({ user, quantity, request, price, text }, ' '))
  gather('ZADD', HELD, now, order)
  gather('ZADD', UNLOGGED, now, order)
  gather('HSET', REQUESTS, name, record)
  gather('ZADD', REQUEST_AGES, now, name)
  if ledger.per_user_limit then
    units[user] = units_of(user) + quantity
    gather('HSET', LIVE, user, int(units[user]))
    gather('HSET', LAST, user, order .. ' pending - ' .. now)
  end
  if room then
    -- Who holds a pass has no place, so this is where they stand now.
    used[user], passes = true, passes - 1
    gather('ZREM', PASSES, user)
    gather('ZREM', EXPIRY, user)
    tell(state(user, 'pending', nil, nil, nil, order, 'pending'))
  end
end

-- What is forgotten anyway needs no memory. A bounded number at a time, but faster than it grows.
local function prune(most)
  local old = call('ZRANGEBYSCORE', REQUEST_AGES, '-inf', '(' .. int(ledger.requests_from), 'LIMIT', 0, most)
  if #old == 0 then return end
  call('HDEL', REQUESTS, unpack(old))
  call('ZREM', REQUEST_AGES, unpack(old))
end

-- What the checks ask of each order.
do
  local names, users = {}, {}
  for at = OWN, #ARGV, FIELDS do
    local _, request, user = unpack(ARGV, at, at + FIELDS - 1)
    names[#names + 1], users[#users + 1] = user .. ':' .. request, user
  end
  learn('HMGET', REQUESTS, names)
  if room and room.closed == 0 then learn('ZMSCORE', EXPIRY, users) end
  if ledger.per_user_limit then learn('HMGET', LIVE, users) end
end

for at = OWN, #ARGV, FIELDS do
  local order, request, user, quantity, now, price, text = unpack(ARGV, at, at + FIELDS - 1)
  local is_closed_door = is_promo() and not room
  local first = not is_closed_door and repeated(user .. ':' .. request, tonumber(now))
  local reason = is_closed_door and 'not_ready' or not first and refusal(user, tonumber(quantity), tonumber(now))
  if first then
    answer('repeated', first, unlogged(first))
  elseif reason then
    answer('refused', reason, '')
  else
    hold(order, request, user, tonumber(quantity), now, price, text)
    answer('held', '', '')
  end
end
write_gathered()
if ledger.requests_from then prune(FORGET_PER_ORDER * (#ARGV - OWN + 1) / FIELDS) end
save_ledger()
publish('')
return answers
