-- Sample sets: a few values of each group, so that rare groups keep theirs; bounded in number, bytes and age.
-- Shared by commit.lua and sweep_sample_set.lua. GROUP and NAME (lengths) are defined before this file.
--
-- A sample set has six keys (`model.SAMPLE_SET_PARTS`), here a table by part:
--   order   sorted set of members; a member is group, order and name, each of a fixed length, so the members of a group
--           stand together and its best stand first
--   times   sorted set of members by time
--   sizes   sorted set of groups by their number of members
--   lines, values   hashes by member and by name
--   bytes   total size of all values

local function sample_set_drop(set, member)
  if redis.call('ZREM', set.order, member) == 0 then return end
  local group, name = string.sub(member, 1, GROUP), string.sub(member, -NAME)
  redis.call('ZREM', set.times, member)
  redis.call('HDEL', set.lines, member)
  redis.call('DECRBY', set.bytes, redis.call('HSTRLEN', set.values, name))
  redis.call('HDEL', set.values, name)
  if tonumber(redis.call('ZINCRBY', set.sizes, -1, group)) < 1 then redis.call('ZREM', set.sizes, group) end
end

-- Return the member of a group that is dropped first.
local function sample_set_last(set, group)
  return redis.call('ZREVRANGEBYLEX', set.order, '(' .. group .. '\255', '[' .. group, 'LIMIT', 0, 1)[1]
end

-- Drop at most `n` members older than `before` (ms); return how many.
local function sample_set_expire(set, before, n)
  local old = redis.call('ZRANGEBYSCORE', set.times, '-inf', '(' .. before, 'LIMIT', 0, n)
  for _, member in ipairs(old) do sample_set_drop(set, member) end
  return #old
end

local function sample_set_is_full(set, most, most_bytes)
  return redis.call('ZCARD', set.order) > most or tonumber(redis.call('GET', set.bytes) or '0') > most_bytes
end

-- Add a member. `bounds`: most members of a group, most members, most bytes, time to live in s.
local function sample_set_add(set, member, line, value, at, bounds)
  sample_set_expire(set, at - bounds.ttl * 1000, 8)
  sample_set_drop(set, member)
  local group, name = string.sub(member, 1, GROUP), string.sub(member, -NAME)
  redis.call('ZADD', set.order, 0, member)
  redis.call('ZADD', set.times, at, member)
  redis.call('HSET', set.lines, member, line)
  redis.call('HSET', set.values, name, value)
  redis.call('INCRBY', set.bytes, #value)
  local size = tonumber(redis.call('ZINCRBY', set.sizes, 1, group))
  if size > bounds.of_group then sample_set_drop(set, sample_set_last(set, group)) end
  for _ = 1, 64 do  -- drop from the largest group; if each has one member, drop the oldest
    if not sample_set_is_full(set, bounds.of_all, bounds.bytes) then break end
    local largest = redis.call('ZREVRANGE', set.sizes, 0, 0, 'WITHSCORES')
    if #largest == 0 then
      redis.call('DEL', set.bytes)
    elseif tonumber(largest[2]) > 1 then
      sample_set_drop(set, sample_set_last(set, largest[1]))
    else
      sample_set_drop(set, redis.call('ZRANGE', set.times, 0, 0)[1])
    end
  end
  for _, key in pairs(set) do redis.call('EXPIRE', key, bounds.ttl) end
end
