-- Look at one target's epoch, and note what was seen since the last look.
--
-- KEYS: the epoch, the revisions seen (a sorted set by Redis TIME in ms), the sessions asked (likewise),
--       the routes of the epoch named in ARGV[1] (a hash: route to its place in the order of first appearance).
-- ARGV: id of the epoch that the routes belong to, its routes' life in s, the most routes,
--       number of revisions R, then R revisions, then routes.
-- Answers: now in ms, the epoch's fields, revisions with their times (before this look), sessions with theirs.
-- A revision that was never seen is not noted here: it stays unseen until an epoch opens with it.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local answer = {
  now, redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
}
local revisions = tonumber(ARGV[4])
if #ARGV > 4 then redis.call('HDEL', KEYS[4], '') end  -- a full store refuses a script whose first write adds
for i = 5, 4 + revisions do
  if redis.call('ZSCORE', KEYS[2], ARGV[i]) then redis.call('ZADD', KEYS[2], now, ARGV[i]) end
end
local place = redis.call('HLEN', KEYS[4])
for i = 5 + revisions, #ARGV do
  if place < tonumber(ARGV[3]) and redis.call('HSETNX', KEYS[4], ARGV[i], place + 1) == 1 then place = place + 1 end
end
if #ARGV > 4 + revisions then redis.call('EXPIRE', KEYS[4], ARGV[2]) end
return answer
