#!lua flags=allow-oom
-- A purge has been carried out: forget it, unless it has been asked for anew.
-- KEYS: purges    ARGV: job id, value that was carried out
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
	return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
