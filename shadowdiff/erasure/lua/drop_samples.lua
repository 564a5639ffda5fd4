-- Drop members of a sample set. KEYS: the keys of the set, in the order of SAMPLE_SET_PARTS. ARGV: the members.
local set = {order = KEYS[1], times = KEYS[2], sizes = KEYS[3], lines = KEYS[4], values = KEYS[5], bytes = KEYS[6]}
for _, member in ipairs(ARGV) do sample_set_drop(set, member) end
return #ARGV
