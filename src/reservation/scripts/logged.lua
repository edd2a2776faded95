-- Notes that orders are in the log.
--
-- ARGV  orders
-- Returns {'ok'}
for at = OWN, #ARGV do call('ZREM', UNLOGGED, ARGV[at]) end
return { 'ok' }
