-- Commit a batch of judged pairs, each exactly once.
--
-- KEYS: any; ARGV and KEYS are tied by index.
-- ARGV: group, number of distinct writes W, number of entries E; then per entry: index of its stream's key, its id,
--       its writes as indexes with blanks between; then per write: op, index of its key, and what it takes.
-- Ops: i (incr: a field, b by, c cap), l (list: a value, b keep), s (string: a value, b ttl in s), e (expire: a ttl in s),
--      m, n, a (score of a member, the greatest, the first, or added to: a member, b score, c cap),
--      d (describe: a field, b value, c cap; what is described stays so),
--      k (keep on a shelf: the indexes of its six keys; member, line, value, at in ms, of group, of all, bytes, ttl in s).
-- Answers: per entry 1 where this call acknowledged it, 0 where another did.
-- The acknowledgement comes first: under memory pressure a script that writes first is refused whole, one
-- that acknowledges first goes through; an entry's writes are applied only where it answered 1.
local group, writes, entries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function fits(key, member, cap)
  return cap == 0 or redis.call('ZSCORE', key, member) or redis.call('ZCARD', key) < cap
end
local WIDTHS = {i = 5, l = 4, s = 4, e = 3, m = 5, n = 5, a = 5, d = 5, k = 15}
local base = 3
local times, answer, done = {}, {}, {}
for e = 1, entries do
  local at = base + (e - 1) * 3
  local stream, id = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local mine = redis.call('XACK', stream, group, id)
  answer[e] = mine
  if mine == 1 then
    done[stream] = done[stream] or {}
    table.insert(done[stream], id)
    for index in string.gmatch(ARGV[at + 3], '%d+') do
      index = tonumber(index)
      times[index] = (times[index] or 0) + 1
    end
  end
end
for stream, ids in pairs(done) do redis.call('XDEL', stream, unpack(ids)) end
local at = 3 + entries * 3
for w = 1, writes do  -- in the order in which they were made, so that a time to live finds its key
  local n = times[w] or 0
  local op, key, a, b, c = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  if n == 0 then  -- nothing of it was acknowledged here
  elseif op == 'i' then
    local cap = tonumber(c)
    local field = a
    if cap > 0 and redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= cap then field = '_other' end
    redis.call('HINCRBY', key, field, tonumber(b) * n)
  elseif op == 'l' then
    redis.call('LPUSH', key, a)
    redis.call('LTRIM', key, 0, tonumber(b) - 1)
  elseif op == 's' then
    redis.call('SET', key, a, 'EX', tonumber(b))
  elseif op == 'e' then
    redis.call('EXPIRE', key, tonumber(a))
  elseif op == 'm' then
    if fits(key, a, tonumber(c)) then redis.call('ZADD', key, 'GT', b, a) end
  elseif op == 'n' then
    if fits(key, a, tonumber(c)) then redis.call('ZADD', key, 'NX', b, a) end
  elseif op == 'a' then
    local member = fits(key, a, tonumber(c)) and a or '_other'
    redis.call('ZINCRBY', key, tonumber(b) * n, member)
  elseif op == 'd' then
    local cap = tonumber(c)
    if cap == 0 or redis.call('HLEN', key) < cap then redis.call('HSETNX', key, a, b) end
  elseif op == 'k' then
    local k = {order = key, times = KEYS[tonumber(a)], sizes = KEYS[tonumber(b)], lines = KEYS[tonumber(c)],
               values = KEYS[tonumber(ARGV[at + 6])], bytes = KEYS[tonumber(ARGV[at + 7])]}
    shelf_keep(k, ARGV[at + 8], ARGV[at + 9], ARGV[at + 10], tonumber(ARGV[at + 11]), tonumber(ARGV[at + 12]),
               tonumber(ARGV[at + 13]), tonumber(ARGV[at + 14]), tonumber(ARGV[at + 15]))
  end
  at = at + WIDTHS[op]
end
return answer
