-- Fold processes that died long ago into one entry, so that a process that keeps crashing does not fill the store.
--
-- KEYS: the hash of processes. ARGV: how many dead processes keep their own entry, after how long without a sync a
--       process is dead for good (s), within how long after a sync a process counts as working (s).
-- Returns: how many processes work. The entry '+ended' sums what the folded ones held in flight; `_exits` counts them.
local now = tonumber(redis.call('TIME')[1])
local most_kept, dead_after, working_within = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local entries = redis.call('HGETALL', KEYS[1])
local dead, ended, working = {}, {_exits = {n = 0}}, 0
for i = 1, #entries, 2 do
  local name = entries[i]
  local at, levels = string.match(entries[i + 1], '^(%d+) (.*)$')
  at = tonumber(at)
  if name == '+ended' then
    ended = cjson.decode(levels)
  elseif now - at > dead_after then
    dead[#dead + 1] = {name = name, at = at, levels = levels}
  elseif now - at <= working_within then
    working = working + 1
  end
end
table.sort(dead, function(one, other) return one.at < other.at end)
local folded = #dead - most_kept
if folded <= 0 then return working end
for i = 1, folded do
  redis.call('HDEL', KEYS[1], dead[i].name)
  for target, levels in pairs(cjson.decode(dead[i].levels)) do
    ended[target] = ended[target] or {}
    for name, level in pairs(levels) do ended[target][name] = (ended[target][name] or 0) + level end
  end
end
ended._exits.n = ended._exits.n + folded
redis.call('HSET', KEYS[1], '+ended', '0 ' .. cjson.encode(ended))
return working
