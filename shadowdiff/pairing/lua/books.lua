-- Add one process's intake counts to the books, and say that it lives.
--
-- KEYS: the call's token, the hash of processes, then one ledger a target.
-- ARGV: token's life in s, process id, the process's state as text ('' when it leaves cleanly);
--       then per change: index of the ledger among the targets (from 1), field, by.
-- Answers: 1, or 0 where this call already ran.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return 0 end
local t = redis.call('TIME')
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('HSET', KEYS[2], ARGV[2], t[1] .. ' ' .. ARGV[3])
end
for i = 4, #ARGV, 3 do redis.call('HINCRBY', KEYS[2 + tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]) end
return 1
