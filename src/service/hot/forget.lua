-- Begins a new generation, so that no shared answer counts any more, and tells every node.
--
-- KEYS  generation  as in look.lua
-- ARGV  fresh       a generation nobody has used
--       channel     where nodes listen
--       node        who says it
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
