-- Add one process's intake counts to the books, and say that it lives.
--
-- KEYS: the process's last call, the hash of processes, then one ledger a target.
-- ARGV: the call's number, how long it is remembered in s, process id, the process's state as text ('' when it leaves
--       cleanly), 1 where the process told before; then per change: index of the ledger among the targets (from 1),
--       field, by.
-- Answers: 1; 0 where this call already ran; -1, and nothing is done, where the process told before and the store
--       does not know it: the store came back empty, and what was told is gone with it.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
if ARGV[5] == '1' and redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return -1 end
-- Removing comes first: a full store refuses a script whose first write adds, and the books must go on.
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], redis.call('TIME')[1] .. ' ' .. ARGV[4]) end
for i = 6, #ARGV, 3 do redis.call('HINCRBY', KEYS[2 + tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]) end
return 1
