-- Changes rate, bound and pass time. Passes already given keep their time.
--
-- ARGV  [4] rate per second · [5] passes at most · [6] pass time, ms
-- Returns {'ok'} · {'no_room'}
local rate, max_active, pass_ttl = unpack(ARGV, OWN, OWN + 2)

if not room then return { 'no_room' } end
call('HSET', ROOM, 'rate', rate, 'max_active', max_active, 'pass_ttl', pass_ttl)
return { 'ok' }
