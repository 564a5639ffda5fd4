-- Name the revision of an epoch that does not know it yet.
--
-- KEYS: the epoch, the revisions seen. ARGV: id of the epoch that the caller knows, the revision, the most kept.
-- Answers: the epoch's fields.
local known = redis.call('HMGET', KEYS[1], 'id', 'revision')
if known[1] == ARGV[1] and (not known[2] or known[2] == '') then
  redis.call('HDEL', KEYS[1], '')  -- a full store refuses a script whose first write adds
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'revision', ARGV[2])
  redis.call('ZADD', KEYS[2], tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000), ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))
end
return redis.call('HGETALL', KEYS[1])
