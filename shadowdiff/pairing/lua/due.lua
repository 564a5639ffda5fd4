-- List keys that are due, and count what is stored. Changes nothing.
-- KEYS: per target the ready stream, then the deadlines of primary, candidate, control. ARGV: most keys per side.
-- Returns: per target {number of ready pairs and waiting observations, due keys of each side}.
local now = now_ms()
local targets = {}
for first = 1, #KEYS, 4 do
  local depth = redis.call('XLEN', KEYS[first])
  local due = {}
  for s = 1, 3 do
    local deadlines = KEYS[first + s]
    depth = depth + redis.call('ZCARD', deadlines)
    due[s] = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, ARGV[1])
  end
  targets[#targets + 1] = {depth, unpack(due)}
end
return targets
