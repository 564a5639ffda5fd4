-- Run several read commands on one shard. Changes nothing.
-- KEYS: one per command. ARGV: per command its name, its number of arguments N, then N arguments.
-- Returns: one reply per command.
local replies, at = {}, 0
for r = 1, #KEYS do
  local command, n = ARGV[at + 1], tonumber(ARGV[at + 2])
  local reply = {}
  -- unpack() takes at most some thousands of values, so long argument lists go in parts
  for first = 1, math.max(n, 1), 1000 do
    local part = redis.call(command, KEYS[r], unpack(ARGV, at + 2 + first, at + 2 + math.min(first + 999, n)))
    if n <= 1000 then
      reply = part
    else
      for i = 1, #part do reply[#reply + 1] = part[i] end
    end
  end
  replies[r], at = reply, at + 2 + n
end
return replies
