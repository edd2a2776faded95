-- Makes the ledger ready: from now on scripts that carry its epoch pass the fence.
--
-- ARGV  [4] the builder's token
-- Returns {'ok'}
-- Invariant: ready means complete, and of this run of the server. Tells everybody to read everything again.
call('HDEL', LEDGER, 'building', 'builder', 'building_run')
call('HSET', LEDGER, 'epoch', EPOCH, 'run', this_run())
tell('["x"]')
publish('')
return { 'ok' }
