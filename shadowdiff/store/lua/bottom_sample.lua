-- Bottom samples: of each group, the values with the lowest ranks. A rank is a hash, so these are a uniform sample.
-- Used by commit.lua. GROUP and RANK (lengths) are defined before this file.
--
-- A bottom sample has four keys (`model.BOTTOM_SAMPLE_PARTS`):
--   members: a sorted set with equal scores. A member is group, rank and value, so a group's highest rank is the last.
--   sizes: a sorted set of groups, by their number of members.
--   cuts: a hash of the groups that lost a member, with the lowest lost rank. All members have lower ranks.
--   groups: a hash of the groups, with what identifies them.

local function bottom_sample_drop_last(sample, group)
  local last = redis.call('ZREVRANGEBYLEX', sample.members, '(' .. group .. '\255', '[' .. group, 'LIMIT', 0, 1)[1]
  if not last then
    redis.call('ZREM', sample.sizes, group)
    return
  end
  redis.call('ZREM', sample.members, last)
  redis.call('ZINCRBY', sample.sizes, -1, group)
  redis.call('HSET', sample.cuts, group, string.sub(last, GROUP + 1, GROUP + RANK))
end

-- Add a value. `bounds`: most values of a group, most values, most groups, time to live in s.
local function bottom_sample_add(sample, group, about, rank, value, bounds)
  local cut = redis.call('HGET', sample.cuts, group)
  if cut and rank >= cut then return end
  if redis.call('HEXISTS', sample.groups, group) == 0 then
    if redis.call('HLEN', sample.groups) >= bounds.groups then return end
    redis.call('HSET', sample.groups, group, about)
  end
  if redis.call('ZADD', sample.members, 0, group .. rank .. value) == 0 then return end
  if tonumber(redis.call('ZINCRBY', sample.sizes, 1, group)) > bounds.of_group then
    bottom_sample_drop_last(sample, group)
  elseif redis.call('ZCARD', sample.members) > bounds.of_all then
    bottom_sample_drop_last(sample, redis.call('ZREVRANGE', sample.sizes, 0, 0)[1])
  end
  for _, key in pairs(sample) do redis.call('EXPIRE', key, bounds.ttl) end
end
