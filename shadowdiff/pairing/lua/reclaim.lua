-- Claim what a dead worker left. KEYS: a ready stream. ARGV: group, consumer, least idle ms, the most to claim.
-- Answers: per entry {id, how often it was delivered, its fields}.
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])
local answer = {}
for _, entry in ipairs(claimed[2]) do
  if entry and entry[1] then
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
    local deliveries = pending[1] and pending[1][4] or 1
    answer[#answer + 1] = {entry[1], deliveries, entry[2]}
  end
end
return answer
