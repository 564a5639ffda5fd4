-- Park a flush of observations. Complete pairs go to the ready stream.
--
-- KEYS: the number of the sender's last flush; then per target ledger, ready stream, deadlines of primary, candidate,
--       control; then the dictionaries that payloads are encoded with; then one key per observation.
-- ARGV: the flush's number, how long it is remembered (s), window (ms), settle (ms), life of a waiting value (ms),
--       number of targets, number of dictionaries, how long those are kept (s); then per observation: head, payload.
-- Returns: of each kind and target the first observation that fits no pair, as 'index:kind' (see ODD); or 0 if this
--          flush already ran and its reply was lost; or 1 if nothing ran because a dictionary is missing here.
--
-- A sender has one flush in flight at a time, so its last number identifies it. A full store rejects the first write
-- that adds, so a flush runs completely or not at all.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
local targets, dictionaries = tonumber(ARGV[6]), tonumber(ARGV[7])
local first_item = 2 + targets * 5 + dictionaries
for i = first_item - dictionaries, first_item - 1 do
  if redis.call('EXPIRE', KEYS[i], ARGV[8]) == 0 then return 1 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])

local window, settle, life = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local counts = {}
-- Kinds that forged or repeated records leave. Each is counted, and the first of each kind in a flush is returned as an
-- example, so that many of one kind do not hide another.
local ODD = {duplicate = true, ambiguous = true, replaced = true, late = true}
local odd, returned = {}, {}
local target_names = {}
for t = 0, targets - 1 do
  target_names[t] = names(2 + t * 5)
  counts[t] = {}
end

for i = 0, #KEYS - first_item do
  local key = KEYS[first_item + i]
  local frame = parse_head(ARGV[9 + 2 * i])
  frame.payload = ARGV[10 + 2 * i]
  frame.at = now
  local target = target_names[frame.target]
  local tally = counts[frame.target]
  local function count(side, what, by)
    local field = (SIDE_NAMES[side] or side) .. '.' .. what
    tally[field] = (tally[field] or 0) + (by or 1)
    local kind = frame.target .. what
    if ODD[what] and side == frame.side and not returned[kind] then
      returned[kind] = true
      odd[#odd + 1] = i .. ':' .. what
    end
  end
  count(frame.side, 'parked')
  -- Accepted requests and records are counted here and nowhere else, so that no count dies with a process.
  if frame.mirrored then count('mirrored', 'received'); count('mirrored', 'forwarded') end
  if frame.withheld then count('mirrored', 'received'); count('mirrored', 'withheld') end
  if frame.recorded then count('recorded', 'received'); count('recorded', 'accepted') end

  local value = redis.call('GET', key)
  local state = value and string.sub(value, 1, 1)
  if state == 'T' then
    count(frame.side, 'late')
  elseif state == 'A' then
    count(frame.side, 'ambiguous')
  else
    local sides = value and parse(value) or {}
    local old = sides[frame.side]
    local keep = true
    if old and old.attempt == frame.attempt then
      keep = false
      if old.digest == frame.digest then
        count(frame.side, 'duplicate')
      else
        count(frame.side, 'ambiguous')
        for side in pairs(sides) do
          count(side, 'ambiguous')
          redis.call('ZREM', target[side], key)
        end
        redis.call('SET', key, 'A', 'PX', window)
      end
    elseif old then
      count(frame.side, 'replaced')
      keep = frame.attempt > old.attempt
    end
    if keep then
      sides[frame.side] = frame
      local due, becomes = due_of(sides, window, settle)
      if becomes == 'pair' and due <= now then
        make_ready(key, sides, target, now, window, count)
        if value then
          for side in pairs(sides) do
            if side ~= frame.side or old then redis.call('ZREM', target[side], key) end
          end
        end
      else
        redis.call('SET', key, compose(sides), 'PX', life)
        for side in pairs(sides) do redis.call('ZADD', target[side], due, key) end
      end
    end
  end
end

for t = 0, targets - 1 do
  for field, by in pairs(counts[t]) do redis.call('HINCRBY', target_names[t].ledger, field, by) end
end
return odd
