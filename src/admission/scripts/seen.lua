-- Notes that shoppers are connected at ARGV[2]; places that were passed over are claimed again.
--
-- ARGV  users
-- Returns {'ok'} · {'no_room'}
if not room then return { 'no_room' } end
for at = OWN, #ARGV do see(ARGV[at], NOW) end
save_room()
return { 'ok' }
