-- Read several hashes. KEYS: the hashes. Returns: one flat list of fields and values per hash.
local hashes = {}
for i, key in ipairs(KEYS) do hashes[i] = redis.call('HGETALL', key) end
return hashes
