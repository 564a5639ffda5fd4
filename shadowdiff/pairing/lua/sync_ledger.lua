-- Add one process's counts to the ledger, and report that it lives.
--
-- KEYS: the number of the process's last call, the hash of processes, then one ledger per target.
-- ARGV: the call's number, how long it is remembered (s), process id, what the process holds in flight as text ('' if
--       it ends and holds nothing), 1 if the process synced before; then per change: index of the ledger among the
--       targets (from 1), field, increment.
-- Returns: 1; 0 if this call already ran; -1 if the process synced before and the store does not know it. In that case
--          nothing is done: the store came back empty, and what was synced is lost with it.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
local process, levels, synced_before = ARGV[3], ARGV[4], ARGV[5] == '1'
if synced_before and redis.call('HEXISTS', KEYS[2], process) == 0 then return -1 end
redis.call('HDEL', KEYS[2], process)  -- a full store rejects a script whose first write adds, and the ledger must go on
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if levels ~= '' then redis.call('HSET', KEYS[2], process, redis.call('TIME')[1] .. ' ' .. levels) end
for i = 6, #ARGV, 3 do redis.call('HINCRBY', KEYS[2 + tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]) end
return 1
