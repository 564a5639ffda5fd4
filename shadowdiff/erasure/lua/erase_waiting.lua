-- Remove waiting observations: each key becomes a tombstone, and its observations count as orphans.
-- KEYS: ledger, ready stream, deadlines of primary, candidate, control; then the keys. ARGV: window (ms).
-- Returns: how many observations were removed. A key that has become a pair or an orphan stays as it is.
local target = names(1)
local counts, removed = {}, 0
for i = 6, #KEYS do
  local key = KEYS[i]
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, 1) == 'W' then
    for side in pairs(parse(value)) do
      redis.call('ZREM', target[side], key)
      local field = SIDE_NAMES[side] .. '.orphaned'
      counts[field] = (counts[field] or 0) + 1
      removed = removed + 1
    end
    redis.call('SET', key, 'T', 'PX', tonumber(ARGV[1]))
  end
end
for field, by in pairs(counts) do redis.call('HINCRBY', target.ledger, field, by) end
return removed
