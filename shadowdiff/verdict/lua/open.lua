-- Open an epoch, unless another process was quicker.
--
-- KEYS: the epoch, the revisions seen, the sessions asked, the openings (a list, the newest first).
-- ARGV: id of the epoch that the caller knows ('' for none), why it opens, revision ('' unknown), rules, noise,
--       session ('' keeps the present one), the ledger at this moment as JSON, the most revisions and sessions kept.
-- Answers: 1 and the new epoch's fields, or 0 and those of the epoch that is there.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local known = redis.call('HGET', KEYS[1], 'id') or ''
local kept = -1 - tonumber(ARGV[8])
if known ~= ARGV[1] then return {0, redis.call('HGETALL', KEYS[1])} end
local session = ARGV[6]
if session == '' then session = redis.call('HGET', KEYS[1], 'session') or '' end
redis.call('HDEL', KEYS[1], '')  -- a full store refuses a script whose first write adds
redis.call('HSET', KEYS[1], 'id', (tonumber(known) or 0) + 1, 'started_ms', now, 'by', ARGV[2], 'revision', ARGV[3],
  'rules', ARGV[4], 'noise', ARGV[5], 'session', session, 'ledger', ARGV[7])
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[2], now, ARGV[3])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, kept)
end
if ARGV[6] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, kept)
end
redis.call('LPUSH', KEYS[4], string.format('%d %d %s %s', now, (tonumber(known) or 0) + 1, ARGV[2], ARGV[3]))
redis.call('LTRIM', KEYS[4], 0, 99)
return {1, redis.call('HGETALL', KEYS[1])}
