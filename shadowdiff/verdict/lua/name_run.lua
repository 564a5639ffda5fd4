-- Set the revision of a run that has none yet.
--
-- KEYS: the run, the revisions seen, the starts (a list, the newest first).
-- ARGV: the id of the caller's start, the revision, the most revisions kept, the id of the run's counts.
-- Returns the fields of the current run.
local current = redis.call('HMGET', KEYS[1], 'id', 'revision')
if current[1] == ARGV[1] and (not current[2] or current[2] == '') then
  redis.call('HDEL', KEYS[1], '')  -- a full Redis refuses a script whose first write adds data
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'revision', ARGV[2])
  redis.call('ZADD', KEYS[2], tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000), ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))
  local starts = redis.call('LRANGE', KEYS[3], 0, -1)
  if string.match(starts[1] or '', '^%d+ (%d+) %a+ $') == ARGV[4] then
    starts[1] = starts[1] .. ARGV[2]
    redis.call('DEL', KEYS[3])
    for i = #starts, 1, -1 do redis.call('LPUSH', KEYS[3], starts[i]) end
  end
end
return redis.call('HGETALL', KEYS[1])
