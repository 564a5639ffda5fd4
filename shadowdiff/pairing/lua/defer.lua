-- Defer claims: they stay with this consumer, and their last delivery does not count because nobody started them.
-- KEYS: a ready stream. ARGV: group, consumer, idle time to set (ms), delivery count to set, entry ids.
local words = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for at = 5, #ARGV do words[#words + 1] = ARGV[at] end
for _, word in ipairs({'IDLE', ARGV[3], 'RETRYCOUNT', ARGV[4], 'JUSTID'}) do words[#words + 1] = word end
return #redis.call(unpack(words))
