-- Applies the writer's verdicts, each once.
--
-- ARGV  for each verdict: order, 'posted' and pay_before, or order, 'void' and the reason
-- Returns {'ok', then for each verdict that was not applied before}: its place among the verdicts from 0, the reservation
--         as text, '1' if the shopper has not heard "accepted"
-- Invariant: initial = available + pending + sold. Tells the shopper: accepted if that was left to the verdict, the
-- outcome, and where they stand in the promo.
local FIELDS = 3
local settled = { 'ok' }
-- Reservations without a verdict, by order, and whether any shopper at all waits for "accepted".
local unsettled, some_deferred = {}, call('EXISTS', DEFERRED) == 1

local function tell_outcome(held, order, status, pay_before, reason)
  local user, price = bare(held.user), pay_before and held.price
  if held.deferred then tell(json({ '"a"', user, quoted(held.request), quoted(order) })) end
  tell(json({ '"o"', user, quoted(order), quoted(status), price or 'null', pay_before or 'null', quoted(reason) }))
  if is_promo() then tell(standing(held.user)) end
end

local function settle(held, order, verdict, detail)
  unsettled[order] = nil
  gather('HDEL', PENDING, order)
  gather('ZREM', HELD, order)
  gather('ZREM', UNLOGGED, order)
  held.deferred = some_deferred and call('SREM', DEFERRED, order) == 1
  ledger.version = ledger.version + 1
  ledger.pending = ledger.pending - held.quantity
  if verdict == 'posted' then
    ledger.sold = ledger.sold + held.quantity
    gather('HSET', POSTED, order, held.user .. ' ' .. int(held.quantity))
    mark(held.user, order, 'awaiting_payment')
    tell_outcome(held, order, 'awaiting_payment', detail)
  else
    give_back(held.user, held.quantity)
    mark(held.user, order, 'rejected', detail)
    tell_outcome(held, order, 'rejected', nil, detail)
  end
end

-- What is asked of each order, and of its shopper.
do
  local orders, users = {}, {}
  for at = OWN, #ARGV, FIELDS do orders[#orders + 1] = ARGV[at] end
  learn('HMGET', PENDING, orders)
  for _, order in ipairs(orders) do
    unsettled[order] = pending_of(order)
    if unsettled[order] then users[#users + 1] = unsettled[order].user end
  end
  if ledger.per_user_limit then learn('HMGET', LAST, users) end
  if room and room.closed == 0 then
    learn('ZMSCORE', PASSES, users)
    learn('HMGET', PLACES, users)
  end
end

for at = OWN, #ARGV, FIELDS do
  local order, verdict, detail = unpack(ARGV, at, at + FIELDS - 1)
  local held = unsettled[order]
  if held then
    settle(held, order, verdict, detail)
    local place = int((at - OWN) / FIELDS)
    for _, word in ipairs({ place, held.text, held.deferred and '1' or '0' }) do settled[#settled + 1] = word end
  end
end
write_gathered()
save_ledger()
publish('')
return settled
