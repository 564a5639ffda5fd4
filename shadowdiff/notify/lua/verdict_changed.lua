-- Store a target's verdict. Return the previous one ('' if there was no verdict), or false if it is the same.
-- KEYS: the verdicts by target.
-- ARGV: target, verdict.
local previous = redis.call('HGET', KEYS[1], ARGV[1])
if previous == ARGV[2] then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return previous or ''
