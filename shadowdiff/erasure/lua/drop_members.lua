-- Drop members of a bottom sample. KEYS: the members and sizes of the sample. ARGV: the members.
-- Returns: how many were dropped.
local dropped = 0
for _, member in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], member) == 1 then
    dropped = dropped + 1
    redis.call('ZINCRBY', KEYS[2], -1, string.sub(member, 1, GROUP))
  end
end
return dropped
