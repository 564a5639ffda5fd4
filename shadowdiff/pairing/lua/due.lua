-- Name what is due. KEYS: sorted sets of deadlines. ARGV: the most to name of each.
-- Answers: per sorted set a list of the keys whose deadline has passed. Changes nothing.
local now = now_ms()
local answer = {}
for i, key in ipairs(KEYS) do
  answer[i] = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[1])
end
return answer
