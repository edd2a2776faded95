-- Looks an answer up; if there is none, says whether the caller is the one to ask the database.
--
-- KEYS  generation  names the state of the shop that shared answers belong to
--       answer      HASH: generation, text
--       lease       who asks the database, and for which generation
-- ARGV  fresh       a generation nobody has used, in case there is none
--       caller      a name for this look
--       lease_ms    how long the others wait for the caller at most
-- returns {generation, text, 0}           the answer
--         {generation, false, 1}          the caller asks
--         {generation, false, 0}          somebody else asks already
--
-- Whoever asks for an older generation does not count: their answer will be of no use.
local generation_key, answer_key, lease_key = KEYS[1], KEYS[2], KEYS[3]
local fresh, caller, lease_ms = ARGV[1], ARGV[2], ARGV[3]

local generation = redis.call('GET', generation_key)
if not generation then
  generation = fresh
  redis.call('SET', generation_key, generation)
end

local answer = redis.call('HMGET', answer_key, 'generation', 'text')
if answer[1] == generation and answer[2] then
  return { generation, answer[2], 0 }
end

local lease = redis.call('GET', lease_key)
local mine = generation .. ' ' .. caller
if lease and lease ~= mine and string.sub(lease, 1, #generation + 1) == generation .. ' ' then
  return { generation, false, 0 }
end
redis.call('SET', lease_key, mine, 'PX', lease_ms)
return { generation, false, 1 }
