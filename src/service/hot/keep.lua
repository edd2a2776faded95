-- Shares an answer, and ends the lease of whoever asked for it.
--
-- KEYS  generation, answer, lease   as in look.lua
-- ARGV  generation  the one that was looked up before the database was asked
--       text        the answer
--       life_ms     how long it is shared; 0: not at all
-- returns 1, or 0 if the shop has changed meanwhile: then the answer may be from before the change, and nothing is done
local generation_key, answer_key, lease_key = KEYS[1], KEYS[2], KEYS[3]
local generation, text, life_ms = ARGV[1], ARGV[2], ARGV[3]

if redis.call('GET', generation_key) ~= generation then
  return 0
end
if life_ms ~= '0' then
  redis.call('HSET', answer_key, 'generation', generation, 'text', text)
  redis.call('PEXPIRE', answer_key, life_ms)
end
redis.call('DEL', lease_key)
return 1
