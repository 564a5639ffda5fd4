-- The state of one key, shared by park.lua and sweep.lua.
--
-- A key's value is one string:
--   'W' and one frame per waiting side; 'T' tombstone (became a pair or an orphan); 'A' ambiguous.
-- A frame: head (26 bytes), arrival (13 decimal digits, Unix ms), payload length (10 digits), payload.
-- A head:  side ('p','c','x'), target index (2 bytes), flags (1), attempt (2), control wait in ms (4),
--          digest of the response (16).   Big-endian; the target index means nothing once stored.
-- Flags: 1 several requests may share the id, 2 a proxy may retry this response, 4 wait for a control's response,
--        8 it arrived as a mirrored request, 16 as a record, 32 as a mirrored request that was not sent to v2.
local HEAD, META = 26, 49

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function parse_head(head)
  local t1, t2, flags, a1, a2, c1, c2, c3, c4 = string.byte(head, 2, 10)
  return {
    head = head, side = string.sub(head, 1, 1), target = t1 * 256 + t2,
    shared = flags % 2 == 1, retriable = math.floor(flags / 2) % 2 == 1, controlled = math.floor(flags / 4) % 2 == 1,
    mirrored = math.floor(flags / 8) % 2 == 1, recorded = math.floor(flags / 16) % 2 == 1,
    withheld = math.floor(flags / 32) % 2 == 1,
    attempt = a1 * 256 + a2, wait = ((c1 * 256 + c2) * 256 + c3) * 256 + c4, digest = string.sub(head, 11, HEAD),
  }
end

-- Return the waiting sides of a stored value, by side.
local function parse(value)
  local sides, at = {}, 2
  while at <= #value do
    local frame = parse_head(string.sub(value, at, at + HEAD - 1))
    frame.at = tonumber(string.sub(value, at + HEAD, at + HEAD + 12))
    local size = tonumber(string.sub(value, at + HEAD + 13, at + META - 1))
    frame.payload = string.sub(value, at + META, at + META + size - 1)
    sides[frame.side] = frame
    at = at + META + size
  end
  return sides
end

local ORDER = {'p', 'c', 'x'}

local function compose(sides)
  local parts = {'W'}
  for _, side in ipairs(ORDER) do
    local frame = sides[side]
    if frame then
      parts[#parts + 1] = frame.head
      parts[#parts + 1] = string.format('%013d%010d', frame.at, #frame.payload)
      parts[#parts + 1] = frame.payload
    end
  end
  return table.concat(parts)
end

-- Return when a key is due (Unix ms), and what it then becomes: 'pair' or 'orphan'. Reads no clock.
local function due_of(sides, window, settle)
  local p, c, x = sides.p, sides.c, sides.x
  if not (p and c) then
    local first = (p or c or x).at
    for _, side in ipairs(ORDER) do
      if sides[side] and sides[side].at < first then first = sides[side].at end
    end
    return first + window, 'orphan'
  end
  local due = 0
  if p.shared or p.retriable then due = p.at + settle end
  if p.shared or c.shared then due = math.max(due, c.at + settle) end
  if c.controlled and not x then due = math.max(due, c.at + c.wait) end
  return due, 'pair'
end

-- Return a target's keys, from KEYS[first] on: ledger, ready stream, and one sorted set of deadlines per side.
local function names(first)
  return {ledger = KEYS[first], ready = KEYS[first + 1], p = KEYS[first + 2], c = KEYS[first + 3], x = KEYS[first + 4]}
end

local SIDE_NAMES = {p = 'primary', c = 'candidate', x = 'control'}

-- Move a complete pair to the ready stream and leave the tombstone.
local function make_ready(key, sides, target, now, window, count)
  local fields = {'k', string.sub(key, -16), 'p', sides.p.payload, 'c', sides.c.payload}
  if sides.x then fields[7] = 'x'; fields[8] = sides.x.payload end
  local first = math.min(sides.p.at, sides.c.at)
  fields[#fields + 1] = 'd'
  fields[#fields + 1] = math.max(0, math.max(sides.p.at, sides.c.at) - first)
  redis.call('XADD', target.ready, '*', unpack(fields))
  redis.call('SET', key, 'T', 'PX', window)
  for side in pairs(sides) do count(side, 'paired') end
  count('pairs', 'ready')
end
