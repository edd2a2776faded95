-- Takes a pool that was found without reservations off the list of busy ones, unless it was busy since.
--
-- KEYS  [1] ZSET pool by the time it was last busy
-- ARGV  [1] pool · [2] the time at which it was busy when it was looked at
-- Returns 1 if it was taken off, else 0
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
