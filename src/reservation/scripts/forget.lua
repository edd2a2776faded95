-- Forgets that orders are pending.
--
-- KEYS  for each order: HASH of its shopper's pending orders, all of one slot
-- ARGV  each order
-- Returns nothing
for at = 1, #ARGV do redis.call('HDEL', KEYS[at], ARGV[at]) end
