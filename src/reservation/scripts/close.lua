-- Closes a posted order, giving its units back unless it was paid.
--
-- ARGV  [4] order · [5] 'paid', 'cancelled' or 'expired'
-- Returns {'now'} · {'before'} it was closed before, or is not known · {'not_settled'} its verdict is still to come
-- Invariant: initial = available + pending + sold. Tells the shopper of a promo where they stand.
local order, status = ARGV[OWN], ARGV[OWN + 1]
local user, quantity = string.match(call('HGET', POSTED, order) or '', '^(%S+) (%S+)$')

if call('HEXISTS', PENDING, order) == 1 then return { 'not_settled' } end
if not user then return { 'before' } end

call('HDEL', POSTED, order)
ledger.version = ledger.version + 1
if status ~= 'paid' then
  ledger.sold = ledger.sold - quantity
  give_back(user, tonumber(quantity))
end
mark(user, order, status)
write_gathered()
save_ledger()
if is_promo() then
  tell(standing(user))
  publish('')
end
return { 'now' }
