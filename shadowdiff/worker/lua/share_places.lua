-- Store what one process has learned about a target's places, and return what all processes have learned.
-- KEYS: open containers (place → time from which it is used, a space, words that stay names), lines (route, line feed,
-- place → last use). Fields that begin with # are `#due` (when waiting containers are used), `#last`, `#version`.
-- ARGV: the version that the process has, most containers, most lines of a route, most lines, life of a line in
-- seconds, seconds between two changes of the containers, seconds to wait for more containers, 1 if all lines in use are
-- given, number of containers, these as pairs, then lines.
-- Returns: 1 if waiting containers are used from now on, the version, and if it is new, the containers and the lines.
local now = tonumber(redis.call('TIME')[1])
local most, most_of_route, most_lines = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local life, interval, delay, given = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
local started, changed = 0, false
local due = tonumber(redis.call('HGET', KEYS[1], '#due') or nil)
for i = 10, 9 + 2 * given, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 and redis.call('HLEN', KEYS[1]) < most then
    due = due or math.max(now + delay, tonumber(redis.call('HGET', KEYS[1], '#last') or '0') + interval)
    redis.call('HSET', KEYS[1], '#due', due, ARGV[i], due .. ' ' .. ARGV[i + 1])
  end
end
if due and due <= now then
  redis.call('HDEL', KEYS[1], '#due')
  redis.call('HSET', KEYS[1], '#last', now)
  started, changed = 1, true
end
local first = 10 + 2 * given
if #ARGV >= first or ARGV[8] == '1' then
  local count, of_route, all = 0, {}, redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if ARGV[8] == '1' and tonumber(all[i + 1]) < now - life then
      redis.call('HDEL', KEYS[2], all[i])
      changed = true
    else
      local route = string.match(all[i], '^[^\n]*')
      count, of_route[route] = count + 1, (of_route[route] or 0) + 1
    end
  end
  for i = first, #ARGV do
    local route = string.match(ARGV[i], '^[^\n]*')
    if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then
      redis.call('HSET', KEYS[2], ARGV[i], now)
    elseif count < most_lines and (of_route[route] or 0) < most_of_route then
      redis.call('HSET', KEYS[2], ARGV[i], now)
      count, of_route[route], changed = count + 1, (of_route[route] or 0) + 1, true
    end
  end
end
if changed then redis.call('HINCRBY', KEYS[1], '#version', 1) end
local version = redis.call('HGET', KEYS[1], '#version') or '0'
if version == ARGV[1] then return {started, version} end
local used, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local from, words = string.match(all[i + 1], '^(%d+) (.*)$')
  if string.sub(all[i], 1, 1) == '$' and tonumber(from) <= now and (not due or due <= now or tonumber(from) < due) then
    used[#used + 1], used[#used + 2] = all[i], words
  end
end
return {started, version, used, redis.call('HKEYS', KEYS[2])}
