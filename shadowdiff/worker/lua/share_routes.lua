-- Store one target's route names and variable segments, and return all that are known.
-- KEYS: the names (scored by their last use), the variable segments (path before the segment → fixed words there).
-- ARGV: most names, most segments, life in seconds, number of names, those names, then segments as pairs.
local now = tonumber(redis.call('TIME')[1])
local most_names, most_places, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local given = tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - life)
for i = 5, 4 + given do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) or redis.call('ZCARD', KEYS[1]) < most_names then
    redis.call('ZADD', KEYS[1], now, ARGV[i])
  end
end
for i = 5 + given, #ARGV, 2 do
  if redis.call('HLEN', KEYS[2]) < most_places then
    redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[1], life)
redis.call('EXPIRE', KEYS[2], life)
return {redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('HGETALL', KEYS[2])}
