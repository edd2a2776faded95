-- The fence, and what is done to the ledger in more than one script.
--
-- Returns {'stale', epoch} before anything else happens if the ledger here is not the one the caller means: another
-- epoch, none at all, or one that this run of the server did not build. `epoch` is that of a ledger that could be used, or ''.
local ledger = read(LEDGER, LEDGER_NUMBERS)
do
  local is_of_this_run = ledger.run == this_run()
  if ledger.epoch ~= EPOCH or not is_of_this_run then
    return { 'stale', is_of_this_run and ledger.epoch or '' }
  end
end

local function save_ledger()
  write(LEDGER, ledger, { 'initial', 'available', 'pending', 'sold', 'version', 'requests_from' })
end

local function is_promo()
  return ledger.starts_at ~= nil
end

local function is_over(now)
  return ledger.ended == 1 or now >= ledger.ends_at
end

local function live_units(user)
  return tonumber(field(LIVE, user) or 0)
end

local function may_order(user)
  return not ledger.per_user_limit or live_units(user) < ledger.per_user_limit
end

-- An unsettled reservation: user, quantity, request, price, and the whole as text.
local function pending_of(order)
  local record = field(PENDING, order)
  if not record then return nil end
  local user, quantity, request, price, text = string.match(record, '^(%S+) (%S+) (%S+) (%S+) (.*)$')
  return { user = user, quantity = tonumber(quantity), request = request, price = price, text = text }
end

-- Only a pool with a limit, a promo's, remembers its shoppers.
local function remember_last(user, order, status, reason, made_at)
  if ledger.per_user_limit then
    local record = table.concat({ order, status, reason or '-', made_at }, ' ')
    gather('HSET', LAST, user, record)
    note(LAST, user, record)
  end
end

-- Order, status, reason (or nil) and time of the shopper's latest order.
local function last_of(user)
  local record = field(LAST, user)
  if not record then return nil end
  local order, status, reason, made_at = string.match(record, '^(%S+) (%S+) (%S+) (%S+)$')
  return order, status, reason ~= '-' and reason or nil, made_at
end

-- Records an order's status if it is still the shopper's latest. Written with what else is gathered.
local function mark(user, order, status, reason)
  local last, _, _, made_at = last_of(user)
  if last == order then remember_last(user, order, status, reason, made_at) end
end

-- Returns a shopper's units to the pool.
local function give_back(user, quantity)
  ledger.available = ledger.available + quantity
  if ledger.per_user_limit then
    local left = int(math.max(live_units(user) - quantity, 0))
    call('HSET', LIVE, user, left)
    note(LIVE, user, left)
  end
end
