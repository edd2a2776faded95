-- Begins to build the pool's ledger anew; it is ready only after open_finish.
--
-- ARGV  [4] the builder's token · [5] initial · [6] sold · [7] units one shopper may hold, '' for an item's own pool
--       [8] starts_at, '' for an item's own pool · [9] ends_at · [10] paused 0|1 · [11] ended 0|1 · [12] request memory, ms
-- Returns {'begun'} · {'complete'} this epoch's ledger is there and is of this run of the server
--         {'later', epoch} a later ledger is there, or being built: nothing changed
-- Invariant: epochs never go back; nothing of an earlier ledger is left but the waiting room and the numbers of the news.
local token, initial, sold = ARGV[OWN], tonumber(ARGV[OWN + 1]), tonumber(ARGV[OWN + 2])
local per_user_limit, starts_at, ends_at = ARGV[OWN + 3], ARGV[OWN + 4], ARGV[OWN + 5]
local paused, ended, request_memory = ARGV[OWN + 6], ARGV[OWN + 7], ARGV[OWN + 8]
local run = this_run()
local there = read(LEDGER, {})
local latest = math.max(tonumber(there.epoch or -1), tonumber(there.building or -1))

if latest > tonumber(EPOCH) then return { 'later', int(latest) } end
if there.epoch == EPOCH and there.run == run then return { 'complete' } end

-- Entries are numbered within an epoch: who builds the same one again goes on counting.
local events = latest == tonumber(EPOCH) and there.events or '0'
call('UNLINK', LEDGER, PENDING, HELD, UNLOGGED, DEFERRED, POSTED, LIVE, LAST, REQUESTS, REQUEST_AGES)
call('HSET', LEDGER, 'building', EPOCH, 'builder', token, 'building_run', run, 'events', events,
  'initial', int(initial), 'available', int(math.max(initial - sold, 0)), 'pending', '0', 'sold', int(sold),
  'version', '1', 'per_user_limit', per_user_limit, 'starts_at', starts_at, 'ends_at', ends_at,
  'paused', paused, 'ended', ended, 'request_memory', request_memory, 'requests_from', '')
return { 'begun' }
