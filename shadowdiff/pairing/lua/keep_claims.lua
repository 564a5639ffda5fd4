-- Report that a worker still processes its claims. This does not count as a delivery; committed entries are skipped.
-- KEYS: a ready stream. ARGV: group, consumer, entry ids.
return #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ARGV, 3), 'JUSTID')
