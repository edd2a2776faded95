-- Changes when the pool takes orders.
--
-- ARGV  [4] starts_at · [5] ends_at · [6] paused 0|1 · [7] ended 0|1
-- Returns {'ok'}. Tells the room if it was paused or goes on.
local starts_at, ends_at, paused, ended = unpack(ARGV, OWN, OWN + 3)

call('HSET', LEDGER, 'starts_at', starts_at, 'ends_at', ends_at, 'paused', paused, 'ended', ended)
if is_promo() and ledger.paused ~= tonumber(paused) then
  tell('["r"]')
  publish('')
end
return { 'ok' }
