"""Shelves: values kept a few of each group, so that rare groups keep theirs; bounded in number, bytes and age.

The script's part that others begin with. A shelf is six keys (`model.write.SHELF`): `order` (a sorted set whose members
are group, order and name, each of a fixed length, so that the first of a group are found in it), `times`, `sizes` (how
many each group has), `lines` and `values` (hashes), `bytes` (of all values).
"""

from __future__ import annotations

from typing import Final

from shadowdiff.model.write import GROUP_CHARS, NAME_CHARS, SHELF
from shadowdiff.store.scripts import Script

SHELF_LUA: Final = (
    b"local GROUP, NAME = %d, %d" % (GROUP_CHARS, NAME_CHARS)
    + b"""
local function shelf_drop(k, member)  -- k: the shelf's keys by part
  if redis.call('ZREM', k.order, member) == 0 then return end
  local group, name = string.sub(member, 1, GROUP), string.sub(member, -NAME)
  redis.call('ZREM', k.times, member)
  redis.call('HDEL', k.lines, member)
  redis.call('DECRBY', k.bytes, redis.call('HSTRLEN', k.values, name))
  redis.call('HDEL', k.values, name)
  if tonumber(redis.call('ZINCRBY', k.sizes, -1, group)) < 1 then redis.call('ZREM', k.sizes, group) end
end

local function shelf_last(k, group)  -- of a group, the member that is kept least
  return redis.call('ZREVRANGEBYLEX', k.order, '(' .. group .. '\\255', '[' .. group, 'LIMIT', 0, 1)[1]
end

local function shelf_forget(k, before, n)  -- what is older
  local old = redis.call('ZRANGEBYSCORE', k.times, '-inf', '(' .. before, 'LIMIT', 0, n)
  for _, member in ipairs(old) do shelf_drop(k, member) end
  return #old
end

local function shelf_is_full(k, of_all, bytes)
  return redis.call('ZCARD', k.order) > of_all or tonumber(redis.call('GET', k.bytes) or '0') > bytes
end

local function shelf_keep(k, member, line, value, at, of_group, of_all, bytes, ttl)
  shelf_forget(k, at - ttl * 1000, 8)
  shelf_drop(k, member)
  local group, name = string.sub(member, 1, GROUP), string.sub(member, -NAME)
  redis.call('ZADD', k.order, 0, member)
  redis.call('ZADD', k.times, at, member)
  redis.call('HSET', k.lines, member, line)
  redis.call('HSET', k.values, name, value)
  redis.call('INCRBY', k.bytes, #value)
  local size = tonumber(redis.call('ZINCRBY', k.sizes, 1, group))
  if size > of_group then shelf_drop(k, shelf_last(k, group)) end
  for _ = 1, 64 do  -- from the group that has most; where each has one, the oldest
    if not shelf_is_full(k, of_all, bytes) then break end
    local most = redis.call('ZREVRANGE', k.sizes, 0, 0, 'WITHSCORES')
    if #most == 0 then
      redis.call('DEL', k.bytes)
    elseif tonumber(most[2]) > 1 then
      shelf_drop(k, shelf_last(k, most[1]))
    else
      shelf_drop(k, redis.call('ZRANGE', k.times, 0, 0)[1])
    end
  end
  for _, key in pairs(k) do redis.call('EXPIRE', key, ttl) end
end
"""
)

SWEEP_SHELF: Final = Script(
    "sweep_shelf.lua",
    SHELF_LUA
    + b"local k = {%s}\n" % b", ".join(b"%s = KEYS[%d]" % (part.encode(), at + 1) for at, part in enumerate(SHELF))
    + b"return shelf_forget(k, tonumber(ARGV[1]), tonumber(ARGV[2]))\n",
)
"""Forgets what is older than ARGV[1] (ms), at most ARGV[2]; answers how many."""
