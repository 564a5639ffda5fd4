-- Add one process's intake counts to the books, and say that it lives.
--
-- KEYS: the call's token, the hash of processes, then one ledger a target.
-- ARGV: token's life in s, process id, the process's state as text ('' when it leaves cleanly), 1 where the process
--       told before; then per change: index of the ledger among the targets (from 1), field, by.
-- Answers: 1; 0 where this call already ran; -1, and nothing is done, where the process told before and the store
--       does not know it: the store came back empty, and what was told is gone with it.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[4] == '1' and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return -1 end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
local t = redis.call('TIME')
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('HSET', KEYS[2], ARGV[2], t[1] .. ' ' .. ARGV[3])
end
for i = 5, #ARGV, 3 do redis.call('HINCRBY', KEYS[2 + tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]) end
return 1
