-- Start a run, unless another process started one first.
--
-- KEYS: the run, the revisions seen, the rollouts seen, the starts (a list, the newest first).
-- ARGV: the id of the run that the caller read ('' for none), what starts the run, revision ('' if unknown), rules,
--       noise, rollout ('' keeps the current one), the ledger now as JSON, the most revisions and rollouts kept.
-- Returns the fields of the current run.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local id = redis.call('HGET', KEYS[1], 'id') or ''
local kept = -1 - tonumber(ARGV[8])
if id ~= ARGV[1] then return redis.call('HGETALL', KEYS[1]) end
local rollout = ARGV[6]
if rollout == '' then rollout = redis.call('HGET', KEYS[1], 'rollout') or '' end
redis.call('HDEL', KEYS[1], '')  -- a full Redis refuses a script whose first write adds data
redis.call('HSET', KEYS[1], 'id', (tonumber(id) or 0) + 1, 'started_ms', now, 'by', ARGV[2], 'revision', ARGV[3],
  'rules', ARGV[4], 'noise', ARGV[5], 'rollout', rollout, 'ledger', ARGV[7])
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[2], now, ARGV[3])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, kept)
end
if ARGV[6] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, kept)
end
redis.call('LPUSH', KEYS[4], string.format('%d %d %s %s', now, (tonumber(id) or 0) + 1, ARGV[2], ARGV[3]))
redis.call('LTRIM', KEYS[4], 0, 99)
return redis.call('HGETALL', KEYS[1])
