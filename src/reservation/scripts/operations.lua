-- Which changes of the stock were made, so that one that is sent again after a lost answer counts once.
--
-- ARGV  [4] the operation's own id
local KEPT_OPERATIONS, ID_LENGTH = 64, 37
local operation = ARGV[OWN]
local was_done = string.find(ledger.operations or '', operation, 1, true) ~= nil

local function remember_operation()
  local done = (ledger.operations or '') .. ' ' .. operation
  call('HSET', LEDGER, 'operations', string.sub(done, -KEPT_OPERATIONS * ID_LENGTH))
end
