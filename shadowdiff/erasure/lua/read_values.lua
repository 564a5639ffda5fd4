-- Read the strings at some keys. Changes nothing. KEYS: the keys. Returns: per key its value, or an empty string.
local values = {}
for i, key in ipairs(KEYS) do values[i] = redis.call('GET', key) or '' end
return values
