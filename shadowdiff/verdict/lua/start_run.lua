-- Start a run, unless another process started one first. If the rules are those of an earlier run again, and nothing
-- else has changed since, resume that run instead.
--
-- `id` of the run's fields increases with every start, so that a process of an earlier version never uses an id again.
-- A resumed run keeps the counts of its first start: `counts` is `<id> <id of the first start>`, valid only for that id.
--
-- KEYS: the run, the revisions seen, the rollouts seen, the starts (a list, the newest first), the earlier runs (a list,
--       the newest first; each has its fields in lines). Only changes of rules keep earlier runs.
-- ARGV: the id of the run that the caller read ('' for none), what starts the run, revision ('' if unknown), rules,
--       noise, rollout ('' keeps the current one), the ledger now as JSON, the most revisions and rollouts kept,
--       the most earlier runs kept, how many ms ago a run that is resumed may have ended, '' if no run is resumed,
--       because places have other names than in earlier runs.
-- Returns the fields of the current run.
local FIELDS = {'id', 'started_ms', 'by', 'revision', 'rules', 'noise', 'rollout', 'ledger'}

local function split(entry)
  local parts = {}
  for part in string.gmatch(entry .. '\n', '([^\n]*)\n') do parts[#parts + 1] = part end
  return parts
end

-- Keep the current run, and return the fields of the run to resume, or nil.
local function earlier(now, rollout)
  local current = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  for i = 1, #FIELDS do current[i] = current[i] or '' end
  local of, counts = string.match(redis.call('HGET', KEYS[1], 'counts') or '', '^(%d+) (%d+)$')
  if of == current[1] then current[1] = counts end
  current[#FIELDS + 1] = string.format('%d', now)
  local found
  local kept = {table.concat(current, '\n')}
  for _, entry in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do
    local run = split(entry)
    local same = run[4] == ARGV[3] and run[5] == ARGV[4] and run[6] == ARGV[5] and run[7] == rollout
    if not found and same and now - tonumber(run[9]) <= tonumber(ARGV[10]) then
      found = run
    elseif #kept < tonumber(ARGV[9]) then
      kept[#kept + 1] = entry
    end
  end
  redis.call('DEL', KEYS[5])
  for i = #kept, 1, -1 do redis.call('LPUSH', KEYS[5], kept[i]) end
  redis.call('EXPIRE', KEYS[5], math.floor(ARGV[10] / 1000))
  return found
end

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local id = redis.call('HGET', KEYS[1], 'id') or ''
local kept = -1 - tonumber(ARGV[8])
if id ~= ARGV[1] then return redis.call('HGETALL', KEYS[1]) end
local rollout = ARGV[6]
if rollout == '' then rollout = redis.call('HGET', KEYS[1], 'rollout') or '' end
redis.call('HDEL', KEYS[1], '')  -- a full Redis refuses a script whose first write adds data
if redis.call('HGET', KEYS[1], 'last') ~= id then redis.call('DEL', KEYS[5]) end  -- an earlier version started this run
local run
if ARGV[2] == 'rules' and ARGV[11] == '1' and id ~= '' then run = earlier(now, rollout) else redis.call('DEL', KEYS[5]) end
local next_id = (tonumber(id) or 0) + 1
run = run or {next_id, now, ARGV[2], ARGV[3], ARGV[4], ARGV[5], rollout, ARGV[7]}
redis.call('HSET', KEYS[1], 'last', next_id, 'counts', string.format('%d %d', next_id, tonumber(run[1])))
for i, field in ipairs(FIELDS) do redis.call('HSET', KEYS[1], field, run[i]) end
redis.call('HSET', KEYS[1], 'id', next_id)
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[2], now, ARGV[3])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, kept)
end
if ARGV[6] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, kept)
end
redis.call('LPUSH', KEYS[4], string.format('%d %d %s %s', now, tonumber(run[1]), ARGV[2], ARGV[3]))
redis.call('LTRIM', KEYS[4], 0, 99)
return redis.call('HGETALL', KEYS[1])
