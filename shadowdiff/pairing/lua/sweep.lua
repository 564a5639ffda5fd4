-- Settle due keys of one target: they become ready pairs or orphans.
--
-- KEYS: ledger, ready stream, deadlines of primary, candidate, control; then the keys that look due.
-- ARGV: window (ms), settle (ms), life of a waiting value (ms), most examples to return, most bytes of an example.
-- Returns: examples of orphans, each {key, payload}.
-- Several services may run it at once, and on keys that are no longer due: each key is checked again.
local target = names(1)
local window, settle, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local counts, examples = {}, {}
local function count(side, what)
  local field = (SIDE_NAMES[side] or side) .. '.' .. what
  counts[field] = (counts[field] or 0) + 1
end

for i = 6, #KEYS do
  local key = KEYS[i]
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, 1) == 'W' then
    local sides = parse(value)
    local due, becomes = due_of(sides, window, settle)
    if due > now then
      for side in pairs(sides) do redis.call('ZADD', target[side], due, key) end
    else
      -- Remove first: a full store rejects a script whose first write adds, and would never empty.
      for side in pairs(sides) do redis.call('ZREM', target[side], key) end
      if becomes == 'pair' then
        make_ready(key, sides, target, now, window, count)
      else
        redis.call('SET', key, 'T', 'PX', window)
        for side, frame in pairs(sides) do
          count(side, 'orphaned')
          if #examples < most and #frame.payload <= most_bytes then
            examples[#examples + 1] = {string.sub(key, -16), frame.payload}
          end
        end
      end
    end
  else
    -- No value waits here. A value that reached its time to live while no service swept is an orphan. A value that
    -- vanished earlier was removed behind the service's back, and stays missing from the ledger.
    for _, side in ipairs(ORDER) do
      local score = redis.call('ZSCORE', target[side], key)
      if score then
        redis.call('ZREM', target[side], key)
        if not value and now > tonumber(score) + life - window - settle then count(side, 'orphaned') end
      end
    end
  end
end
for field, by in pairs(counts) do redis.call('HINCRBY', target.ledger, field, by) end
return examples
