-- Read the state of one target's runs, and note the revisions and routes that appeared since the last call.
--
-- KEYS: the run, the revisions seen (a sorted set by Redis TIME in ms), the rollouts seen (likewise),
--       the routes of the run in ARGV[1] (a hash: route to its position in order of first appearance).
-- ARGV: the id of the run to which the routes belong, the routes' time to live in s, the most routes,
--       the number of revisions R, then R revisions, then routes.
-- Returns the time in ms, the run's fields, revisions with their times (before this call), rollouts with theirs.
-- An unknown revision is not noted here; it is noted when a run starts with it.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local reply = {
  now, redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
}
local revisions = tonumber(ARGV[4])
if #ARGV > 4 then redis.call('HDEL', KEYS[4], '') end  -- a full Redis refuses a script whose first write adds data
for i = 5, 4 + revisions do
  if redis.call('ZSCORE', KEYS[2], ARGV[i]) then redis.call('ZADD', KEYS[2], now, ARGV[i]) end
end
local position = redis.call('HLEN', KEYS[4])
for i = 5 + revisions, #ARGV do
  if position < tonumber(ARGV[3]) and redis.call('HSETNX', KEYS[4], ARGV[i], position + 1) == 1 then
    position = position + 1
  end
end
if #ARGV > 4 + revisions then redis.call('EXPIRE', KEYS[4], ARGV[2]) end
return reply
