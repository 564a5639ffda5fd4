-- Drop members of a sample set that are too old. KEYS: the keys of the set, in the order of SAMPLE_SET_PARTS.
-- ARGV: the time (ms) before which a member is too old, the most to drop. Returns: how many were dropped.
local set = {order = KEYS[1], times = KEYS[2], sizes = KEYS[3], lines = KEYS[4], values = KEYS[5], bytes = KEYS[6]}
return sample_set_expire(set, tonumber(ARGV[1]), tonumber(ARGV[2]))
