-- Commit a batch of judged pairs, each exactly once.
--
-- KEYS: any; ARGV refers to them by index.
-- ARGV: group, number of distinct writes W, number of entries E; then per entry: index of its stream's key, its id, and
--       the indexes of its writes, separated by spaces; then per write: its operation, the index of its key, and the
--       operands of that operation (see APPLY).
-- Returns: per entry 1 if this call acknowledged it, 0 if another call did.
--
-- Acknowledging comes first: a full store rejects a script whose first write adds, and accepts one that has removed
-- something. The writes of an entry are applied only if its XACK returned 1.
local group, writes, entries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function has_room(key, member, cap)
  return cap == 0 or redis.call('ZSCORE', key, member) or redis.call('ZCARD', key) < cap
end

-- Each operation gets the number of acknowledged entries that share the write, its key, and its operands.
local APPLY = {
  i = function(n, key, field, by, cap)  -- increment a field of a hash with at most `cap` fields
    cap = tonumber(cap)
    if cap > 0 and redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= cap then field = '_other' end
    redis.call('HINCRBY', key, field, tonumber(by) * n)
  end,
  l = function(_, key, value, keep)  -- put a value at the front of a list of `keep` values
    redis.call('LPUSH', key, value)
    redis.call('LTRIM', key, 0, tonumber(keep) - 1)
  end,
  s = function(_, key, value, ttl_s) redis.call('SET', key, value, 'EX', tonumber(ttl_s)) end,
  e = function(_, key, ttl_s) redis.call('EXPIRE', key, tonumber(ttl_s)) end,
  m = function(_, key, member, score, cap)  -- keep the greatest score of a member
    if has_room(key, member, tonumber(cap)) then redis.call('ZADD', key, 'GT', score, member) end
  end,
  n = function(_, key, member, score, cap)  -- keep the first score of a member
    if has_room(key, member, tonumber(cap)) then redis.call('ZADD', key, 'NX', score, member) end
  end,
  a = function(n, key, member, score, cap)  -- add to the score of a member
    member = has_room(key, member, tonumber(cap)) and member or '_other'
    redis.call('ZINCRBY', key, tonumber(score) * n, member)
  end,
  d = function(_, key, field, value, cap)  -- describe a field once
    cap = tonumber(cap)
    if cap == 0 or redis.call('HLEN', key) < cap then redis.call('HSETNX', key, field, value) end
  end,
  k = function(_, order, times, sizes, lines, values, bytes, member, line, value, at, of_group, of_all, most_bytes, ttl)
    local set = {order = order, times = KEYS[tonumber(times)], sizes = KEYS[tonumber(sizes)],
                 lines = KEYS[tonumber(lines)], values = KEYS[tonumber(values)], bytes = KEYS[tonumber(bytes)]}
    sample_set_add(set, member, line, value, tonumber(at), {
      of_group = tonumber(of_group), of_all = tonumber(of_all), bytes = tonumber(most_bytes), ttl = tonumber(ttl),
    })
  end,
  b = function(_, members, sizes, cuts, groups, group, about, rank, value, of_group, of_all, most_groups, ttl)
    local sample = {members = members, sizes = KEYS[tonumber(sizes)], cuts = KEYS[tonumber(cuts)],
                    groups = KEYS[tonumber(groups)]}
    bottom_sample_add(sample, group, about, rank, value, {
      of_group = tonumber(of_group), of_all = tonumber(of_all), groups = tonumber(most_groups), ttl = tonumber(ttl),
    })
  end,
}
-- How many arguments a write takes, its operation and key included.
local WIDTHS = {i = 5, l = 4, s = 4, e = 3, m = 5, n = 5, a = 5, d = 5, k = 15, b = 13}

local times, acknowledged, done = {}, {}, {}
local at = 3
for e = 1, entries do
  local stream, id, indexes = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  at = at + 3
  acknowledged[e] = redis.call('XACK', stream, group, id)
  if acknowledged[e] == 1 then
    done[stream] = done[stream] or {}
    table.insert(done[stream], id)
    for index in string.gmatch(indexes, '%d+') do
      index = tonumber(index)
      times[index] = (times[index] or 0) + 1
    end
  end
end
for stream, ids in pairs(done) do redis.call('XDEL', stream, unpack(ids)) end
for w = 1, writes do  -- in the order in which they were made, so that a time to live finds its key
  local operation = ARGV[at + 1]
  local width = WIDTHS[operation]
  if times[w] then APPLY[operation](times[w], KEYS[tonumber(ARGV[at + 2])], unpack(ARGV, at + 3, at + width)) end
  at = at + width
end
return acknowledged
