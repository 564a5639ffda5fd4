-- Fold processes that died long ago into one entry, so that a process that keeps crashing fills nothing.
--
-- KEYS: the hash of processes. ARGV: how many dead ones stay apart, how long ago they must have been heard of, in s;
--       how lately a process was heard of that is at work, in s.
-- Answers: how many are at work. The entry '+ended' sums what the dead held in flight; `_exits` says how many they are.
local now = tonumber(redis.call('TIME')[1])
local flat = redis.call('HGETALL', KEYS[1])
local dead, ended, at_work = {}, {_exits = {n = 0}}, 0
for i = 1, #flat, 2 do
  local at, levels = string.match(flat[i + 1], '^(%d+) (.*)$')
  if flat[i] == '+ended' then
    ended = cjson.decode(levels)
  elseif now - tonumber(at) > tonumber(ARGV[2]) then
    dead[#dead + 1] = {name = flat[i], at = tonumber(at), levels = levels}
  elseif now - tonumber(at) <= tonumber(ARGV[3]) then
    at_work = at_work + 1
  end
end
table.sort(dead, function(one, other) return one.at < other.at end)
local folded = #dead - tonumber(ARGV[1])
if folded <= 0 then return at_work end
for i = 1, folded do
  redis.call('HDEL', KEYS[1], dead[i].name)
  for target, levels in pairs(cjson.decode(dead[i].levels)) do
    ended[target] = ended[target] or {}
    for name, level in pairs(levels) do ended[target][name] = (ended[target][name] or 0) + level end
  end
end
ended._exits.n = ended._exits.n + folded
redis.call('HSET', KEYS[1], '+ended', '0 ' .. cjson.encode(ended))
return at_work
