-- Notes where a shopper's orders are: under each request, and while they are pending.
--
-- KEYS  for each order two, of one slot: STRING of the request, "pool order" · HASH of the shopper's pending orders, order → pool
-- ARGV  [1] how long an entry lives, ms · [2] the pool of all of them · [3] '1' if they are pending · then each order
-- Returns nothing
-- Invariant: the same call once more changes nothing but the time that is left.
local MEMORY, POOL, IS_PENDING = ARGV[1], ARGV[2], ARGV[3] == '1'
local OWN = 4

for at = OWN, #ARGV do
  local order, request_key, pending_key = ARGV[at], KEYS[2 * (at - OWN) + 1], KEYS[2 * (at - OWN) + 2]
  redis.call('SET', request_key, POOL .. ' ' .. order, 'PX', MEMORY)
  if IS_PENDING then
    redis.call('HSET', pending_key, order, POOL)
    redis.call('PEXPIRE', pending_key, MEMORY)
  end
end
