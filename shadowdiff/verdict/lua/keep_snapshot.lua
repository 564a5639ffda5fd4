-- Keep a snapshot of a ledger, unless another process kept one for the same minute or hour.
-- KEYS: a hash per unit of time. ARGV: per key its time to live in s; then the ledger's counts: name, count, …
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, unpack(ARGV, #KEYS + 1))
    redis.call('EXPIRE', key, ARGV[i])
  end
end
return 1
