-- Say that a worker is still at work on what it claimed. KEYS: a ready stream. ARGV: group, consumer, entries.
-- Counts as no delivery. Entries that are committed meanwhile are left alone.
return #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ARGV, 3), 'JUSTID')
