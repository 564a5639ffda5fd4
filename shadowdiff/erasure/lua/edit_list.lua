-- Replace or remove values of a list; the order of the others and the time to live stay.
-- KEYS: the list. ARGV: its time to live (s; 0: none), then pairs of an old value and its replacement, '' to remove it.
-- Returns: how many values were replaced or removed. Deletes before it writes, so that a full store accepts it.
local new = {}
for i = 2, #ARGV, 2 do new[ARGV[i]] = ARGV[i + 1] end
local values, edited = redis.call('LRANGE', KEYS[1], 0, -1), 0
redis.call('DEL', KEYS[1])
for i = #values, 1, -1 do
  local value = values[i]
  if new[value] then
    value = new[value]
    edited = edited + 1
  end
  if value ~= '' then redis.call('LPUSH', KEYS[1], value) end
end
if tonumber(ARGV[1]) > 0 then redis.call('EXPIRE', KEYS[1], tonumber(ARGV[1])) end
return edited
