-- Notes that orders are in the log.
--
-- ARGV  orders
-- Returns {'ok'}
if #ARGV >= OWN then call('ZREM', UNLOGGED, unpack(ARGV, OWN)) end
return { 'ok' }
