-- Remove a consumer that has no claims; claims that it has stay, and others can reclaim them.
-- KEYS: ready streams. ARGV: group, consumer. Returns: from how many streams it was removed.
local removed = 0
for _, stream in ipairs(KEYS) do
  if #redis.call('XPENDING', stream, ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], ARGV[2])
    removed = removed + 1
  end
end
return removed
