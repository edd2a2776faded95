-- Gives up the shopper's place or pass.
--
-- ARGV  [4] user
-- Returns {'ok', the standing}
-- Invariant: nobody else's number changes. Tells the other nodes if there was something to give up.
local user = ARGV[OWN]
local had_something = room and leave(user)
local stands = standing(user)

if had_something then
  save_room()
  tell(stands)
  publish(NODE)
end
return { 'ok', stands }
