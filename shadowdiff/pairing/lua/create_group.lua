-- Create the consumer group of a ready stream unless it exists. KEYS: a ready stream. ARGV: group.
redis.call('XDEL', KEYS[1], '0-1')  -- a full store rejects a script whose first write adds, and only claims empty it
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made.err and not string.find(tostring(made.err), 'BUSYGROUP', 1, true) then return made end
return 1
