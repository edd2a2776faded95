-- Where shoppers stand.
--
-- ARGV  users
-- Returns {'ok', then for each user the standing}
local found = { 'ok' }

for at = OWN, #ARGV do found[#found + 1] = standing(ARGV[at]) end
return found
