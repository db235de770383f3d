#!lua flags=no-writes
-- Ids of the jobs of a queue that are not yet started, oldest first.
-- KEYS: waiting    ARGV: the id behind which to begin ('' = from the first), most ids
local first = 0
if ARGV[1] ~= '' then
	local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
	if rank then
		first = rank + 1
	end
end
return redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1)
