-- Change a target's noise state, unless another process changed it first.
--
-- KEYS: the noise state. ARGV: the `rev` that the caller read ('' for none), then fields and their new values.
-- Returns 1 if the change was made, else 0.
local rev = redis.call('HGET', KEYS[1], 'rev') or ''
if rev ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], '')  -- a full Redis refuses a script whose first write adds data
redis.call('HSET', KEYS[1], 'rev', (tonumber(rev) or 0) + 1)
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
