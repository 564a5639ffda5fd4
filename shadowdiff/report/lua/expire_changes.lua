-- Delete what describes the changes of one target and shard that were not seen for long.
-- KEYS: 1 to 3: sorted sets of changes by last sight, first sight and severity; 4: hash of v2's revisions.
-- ARGV: 1: the oldest time of the last sight that is kept; 2: the most changes to delete at once.
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #old > 0 then
  for i = 1, 3 do redis.call('ZREM', KEYS[i], unpack(old)) end
  redis.call('HDEL', KEYS[4], unpack(old))
end
return #old
