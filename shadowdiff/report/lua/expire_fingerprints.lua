-- Delete the fingerprints of one target and shard that were not seen for long, and return their names.
-- KEYS: 1 to 5: sorted sets of names by last and first sight, count, severity, reopening; 6: hash of what never changes.
-- ARGV: 1: the oldest time of the last sight that is kept; 2: the most names to delete at once.
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', '(' .. ARGV[1])
if #old > 0 then
  for i = 1, 5 do redis.call('ZREM', KEYS[i], unpack(old)) end
  redis.call('HDEL', KEYS[6], unpack(old))
end
return old
