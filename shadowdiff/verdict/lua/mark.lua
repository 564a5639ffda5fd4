-- Keep a ledger as it stands, unless another process has already kept it for this stretch.
-- KEYS: one hash a unit of time. ARGV: per key how long it lives in s; then the ledger's figures: name, count, …
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, unpack(ARGV, #KEYS + 1))
    redis.call('EXPIRE', key, ARGV[i])
  end
end
return 1
