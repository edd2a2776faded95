-- The fence of a ledger that is being built: only the builder that began last may go on.
--
-- ARGV  [4] the builder's token
-- Returns {'superseded'} before anything else happens if another has begun since, or the server lost what was built.
local ledger = read(LEDGER, LEDGER_NUMBERS)
if ledger.builder ~= ARGV[OWN] or ledger.building ~= EPOCH or ledger.building_run ~= this_run() then
  return { 'superseded' }
end
