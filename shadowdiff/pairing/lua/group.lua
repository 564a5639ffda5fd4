-- Make the consumer group of a ready stream; one that stands is kept. KEYS: a ready stream. ARGV: group.
-- Removing comes first, if nothing: a full store refuses a script whose first write adds, and only who may claim empties it.
redis.call('XDEL', KEYS[1], '0-1')
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
return 1
