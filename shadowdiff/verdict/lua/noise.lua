-- Change what is known of a target's noise, unless another process was quicker.
--
-- KEYS: the noise. ARGV: `rev` that the caller knows ('' for none), then fields and their new values.
-- Answers: 1 where the change was made, 0 where not.
local known = redis.call('HGET', KEYS[1], 'rev') or ''
if known ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], '')  -- a full store refuses a script whose first write adds
redis.call('HSET', KEYS[1], 'rev', (tonumber(known) or 0) + 1)
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
