-- Read deferred entries again. This counts as a delivery. KEYS: a ready stream. ARGV: group, consumer, entry ids.
-- Returns: per entry {id, its fields}; committed entries are left out.
local found = {}
for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ARGV, 3))) do
  if entry and entry[1] then found[#found + 1] = entry end
end
return found
