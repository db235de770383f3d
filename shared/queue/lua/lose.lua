#!lua flags=allow-oom
-- The result of a run has vanished in a crash of its results database: its job says so.
-- KEYS: job, stats    ARGV: run, error
local j = redis.call('HMGET', KEYS[1], 'run', 'state', 'spec')
if j[1] ~= ARGV[1] or j[2] ~= 'SUCCESS' then
	return 0
end
redis.call('HSET', KEYS[1], 'state', 'FAILURE', 'error', ARGV[2], 'table', '')
redis.call('HINCRBY', KEYS[2], 'lost|' .. string.match(j[3], '^task=([^\n]*)'), 1)
return 1
