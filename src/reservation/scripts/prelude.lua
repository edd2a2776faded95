-- What every script begins with: the names of its keys and arguments, and how news is told.
--
-- KEYS  the keys of one pool, always all of these in this order (reservation/redis/call.rs builds the list).
-- ARGV  [1] the epoch the caller believes in · [2] now, in milliseconds · [3] the calling node · from [4] on the script's own.
-- Users are 19 digits with leading zeros, so that members sort as numbers do. Orders and requests are UUIDs as text.
-- No clock and no chance: the same call on the same keys always does the same.
local LEDGER, -- HASH   counters, gate and fence of the pool
  PENDING, --     HASH   order → "user quantity request price reservation", without a verdict
  HELD, --        ZSET   order by the time of its reservation, for all of PENDING
  UNLOGGED, --    ZSET   order by the time of its reservation, while it is not known to be in the log
  DEFERRED, --    SET    orders whose shopper has not heard "accepted"
  POSTED, --      HASH   order → "user quantity", neither paid nor given back
  LIVE, --        HASH   user → units in pending, posted and paid orders
  LAST, --        HASH   user → "order status reason made_at" of the latest order; reason is - for none
  REQUESTS, --    HASH   "user:request" → "order made_at"
  REQUEST_AGES, -- ZSET  "user:request" by made_at
  ROOM, --        HASH   settings and counters of the waiting room
  LINE, --        ZSET   who joined, in the order of their numbers; see admission/scripts/room.lua
  PLACES, --      HASH   user → "number seen passed_over"
  RETURNED, --    ZSET   user by number: passed over, and back since
  PASSES, --      ZSET   user by number
  EXPIRY, --      ZSET   user by the end of the pass, in room time
  EVENTS = unpack(KEYS) -- STREAM of news entries
local EPOCH, NOW, NODE = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local OWN = 4
local PREFIX, POOL = string.match(LEDGER, '^(.-){(.-)}')
local KEPT_EVENTS = 10000
local call = redis.call

-- A whole number as digits: tostring would write large ones with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

-- A hash as a table; the fields named in `numbers` become numbers, or nil where they are empty.
local function read(key, numbers)
  local flat, fields = call('HGETALL', key), {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  for _, name in ipairs(numbers) do fields[name] = tonumber(fields[name]) end
  return fields
end

-- The fields of `from` named in `names`, written to the hash in one call.
local function write(key, from, names)
  local flat = {}
  for _, name in ipairs(names) do
    flat[#flat + 1] = name
    flat[#flat + 1] = from[name] and int(from[name]) or ''
  end
  call('HSET', key, unpack(flat))
end

-- Names this run of the server: what it knew before a restart or a failover may be older than what it answered then.
local function this_run()
  local info = call('INFO', 'server')
  local _, from = string.find(info, 'run_id:', 1, true)
  return string.sub(info, from + 1, from + 40)
end

-- Fields of hashes and scores of sets, by key, that were read before they are wanted, so that those of a key become one
-- command: a call costs far more than what it reads. Who then changes one says so.
local learned = {}

local function note(key, name, value)
  learned[key] = learned[key] or {}
  learned[key][name] = value
end

local function learn(verb, key, names)
  if #names == 0 then return end
  local values = call(verb, key, unpack(names))
  for at, name in ipairs(names) do note(key, name, values[at]) end
end

local function recall(verb, key, name)
  local value = learned[key] and learned[key][name]
  if value == nil then value = call(verb, key, name) end
  return value
end

-- A field of a hash; false if it has none of that name.
local function field(key, name)
  return recall('HGET', key, name)
end

-- The score of a member as text; false if it is none.
local function score(key, member)
  return recall('ZSCORE', key, member)
end

-- Writes that wait for `write_gathered`, so that those of a kind become one command. Nothing reads them before.
local gathered, kinds = {}, {}

local function gather(verb, key, ...)
  local kind = verb .. key
  if not kinds[kind] then
    kinds[kind] = { verb, key }
    gathered[#gathered + 1] = kinds[kind]
  end
  local words = kinds[kind]
  for nth = 1, select('#', ...) do words[#words + 1] = (select(nth, ...)) end
end

local function write_gathered()
  for _, words in ipairs(gathered) do call(unpack(words)) end
end

local LEDGER_NUMBERS = {
  'initial', 'available', 'pending', 'sold', 'version', 'per_user_limit', 'starts_at', 'ends_at', 'paused', 'ended',
  'request_memory', 'requests_from',
}
local news = {}

local function tell(event)
  news[#news + 1] = event
end

-- Sends what was told as one numbered entry. `by`: the node that knows it already, or ''.
local function publish(by)
  if #news == 0 then return end
  local number = int(call('HINCRBY', LEDGER, 'events', 1))
  local entry = '["' .. POOL .. '",' .. EPOCH .. ',' .. number .. ',"' .. by .. '",[' .. table.concat(news, ',') .. ']]'
  call('XADD', EVENTS, 'MAXLEN', '~', KEPT_EVENTS, EPOCH .. '-' .. number, 'e', entry)
  call('PUBLISH', PREFIX .. 'news', entry)
end
