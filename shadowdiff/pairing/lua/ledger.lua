-- Read one target's books in one shard, at one instant. Changes nothing.
--
-- KEYS: ledger, ready stream, deadlines of primary, candidate, control, the hash of processes; then keys to prove.
-- Answers: the ledger's fields, the number of ready pairs, and per side how many observations wait: what its
-- sorted set holds, less those of the named keys whose value is gone (removed behind the service's back); then
-- the processes' states and the time in s. What is in flight belongs to the same instant as what was received.
local answer = {redis.call('HGETALL', KEYS[1]), redis.call('XLEN', KEYS[2]), 0, 0, 0}
for s = 3, 5 do answer[s] = redis.call('ZCARD', KEYS[s]) end
for i = 7, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    for s = 3, 5 do
      if redis.call('ZSCORE', KEYS[s], KEYS[i]) then answer[s] = answer[s] - 1 end
    end
  end
end
answer[6] = redis.call('HGETALL', KEYS[6])
answer[7] = redis.call('TIME')[1]
return answer
