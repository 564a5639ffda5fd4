-- Store a time unless one is stored already, and return the stored one.
-- KEYS: the time.
-- ARGV: now, Unix milliseconds.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
