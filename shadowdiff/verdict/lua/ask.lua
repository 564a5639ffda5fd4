-- Note that a session asked. KEYS: the sessions asked. ARGV: the session.
-- Answers: 1 where it was known. A session that never asked is not noted: it stays unseen until its epoch opens.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000), ARGV[1])
return 1
