-- The reservation of an order while it is not known to be in the log.
--
-- ARGV  [4] order
-- Returns {'ok', reservation as text or ''}
local order = ARGV[OWN]

return { 'ok', call('ZSCORE', UNLOGGED, order) and pending_of(order).text or '' }
