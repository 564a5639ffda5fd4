-- Note that a rollout asked for its run. KEYS: the rollouts seen. ARGV: the rollout.
-- Returns 1 if it was known. An unknown rollout is noted only when its run starts.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000), ARGV[1])
return 1
