-- The numbered lobby's keys in ascending order.
--
-- ARGV  [4] the places before the first · [5] how many at most
-- Returns {'ok', keys} · {'no_room'}
local after, limit = tonumber(ARGV[OWN]), tonumber(ARGV[OWN + 1])

if not room then return { 'no_room' } end
local last = math.min(after + limit, room.drawn) - 1
local keys = { 'ok' }
if last < after then return keys end
local found = call('ZRANGE', LINE, int(after), int(last), 'WITHSCORES')
for at = 2, #found, 2 do keys[#keys + 1] = int(tonumber(found[at])) end
return keys
