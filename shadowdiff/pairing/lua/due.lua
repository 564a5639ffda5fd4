-- Name what is due, and say how much there is. Changes nothing.
-- KEYS: per target the ready stream, then the deadlines of primary, candidate, control. ARGV: the most to name of each.
-- Answers: per target {how many ready pairs and waiting observations, due keys of each side}.
local now = now_ms()
local answer = {}
for first = 1, #KEYS, 4 do
  local found = {redis.call('XLEN', KEYS[first])}
  for s = 1, 3 do
    local deadlines = KEYS[first + s]
    found[1] = found[1] + redis.call('ZCARD', deadlines)
    found[1 + s] = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, ARGV[1])
  end
  answer[#answer + 1] = found
end
return answer
