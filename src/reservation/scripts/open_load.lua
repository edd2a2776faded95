-- Loads some of the orders that the ledger must still know, oldest first.
--
-- ARGV  [4] the builder's token · then for each order: order, request, user, quantity, status, reason ('-' for none), made_at
-- Returns {'ok'}
-- Invariant: what is loaded is counted in the ledger's units already; only who holds them is new.
local FIELDS = 7

for at = OWN + 1, #ARGV, FIELDS do
  local order, request, user, quantity, status, reason, made_at = unpack(ARGV, at, at + FIELDS - 1)
  local name = user .. ':' .. request
  call('HSET', REQUESTS, name, order .. ' ' .. made_at)
  call('ZADD', REQUEST_AGES, made_at, name)
  if status == 'awaiting_payment' then call('HSET', POSTED, order, user .. ' ' .. quantity) end
  if ledger.per_user_limit then
    call('HSET', LAST, user, table.concat({ order, status, reason, made_at }, ' '))
    if status == 'awaiting_payment' or status == 'paid' then call('HINCRBY', LIVE, user, quantity) end
  end
end
return { 'ok' }
