-- Read one target's ledger in one shard, at one instant. Changes nothing.
--
-- KEYS: ledger, ready stream, deadlines of primary, candidate, control, the hash of processes; then keys to check.
-- Returns a flat list of names and values: counts (the ledger's fields), pending (ready pairs), primary, candidate,
--          control (how many observations of the side wait), processes (their states), now_s.
-- `Waiting` is the size of a side's sorted set, minus the checked keys whose value was removed behind the service's
-- back. What is in flight belongs to the same instant as what was received.
local waiting = {}
for s = 3, 5 do waiting[s] = redis.call('ZCARD', KEYS[s]) end
for i = 7, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    for s = 3, 5 do
      if redis.call('ZSCORE', KEYS[s], KEYS[i]) then waiting[s] = waiting[s] - 1 end
    end
  end
end
return {
  'counts', redis.call('HGETALL', KEYS[1]), 'pending', redis.call('XLEN', KEYS[2]),
  'primary', waiting[3], 'candidate', waiting[4], 'control', waiting[5],
  'processes', redis.call('HGETALL', KEYS[6]), 'now_s', redis.call('TIME')[1],
}
