-- Claim what a dead worker left. KEYS: a ready stream. ARGV: group, consumer, least idle time (ms), most entries.
-- Returns: per entry {id, delivery count, its fields}.
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])
local found = {}
for _, entry in ipairs(claimed[2]) do
  if entry and entry[1] then
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
    local deliveries = pending[1] and pending[1][4] or 1
    found[#found + 1] = {entry[1], deliveries, entry[2]}
  end
end
return found
