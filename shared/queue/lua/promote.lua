#!lua flags=allow-oom
-- Moves a job that is due from `scheduled` to its queue's stream, or, when its group is full, to the group's wait list.
-- KEYS: scheduled, job, stream, group, group wait, waiting
-- ARGV: job id, queue, group id ('' = none)
-- Returns 1 when it was moved, else 0 (not due, taken by another worker, deleted, or changed meanwhile)
local call = redis.call
local id, group = ARGV[1], ARGV[3]
local due = call('ZSCORE', KEYS[1], id)
if not due then
	return 0
end
local time = call('TIME')
if tonumber(due) > tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) then
	return 0
end
local j = call('HMGET', KEYS[2], 'state', 'spec')
if not j[1] then
	call('ZREM', KEYS[1], id)
	return 0
end
if string.match(j[2], '\nqueue=([^\n]*)') ~= ARGV[2] or (string.match(j[2], '\ngroup=([^\n]*)') or '') ~= group then
	return 0
end
call('ZREM', KEYS[1], id)
if group ~= '' then
	local g = call('HMGET', KEYS[4], 'concurrency', 'active')
	local conc = tonumber(g[1] or '0')
	if conc > 0 and tonumber(g[2] or '0') >= conc then
		call('RPUSH', KEYS[5], id)
		return 1
	end
	if g[1] then
		call('HINCRBY', KEYS[4], 'active', 1)
	end
end
local entry = call('XADD', KEYS[3], '*', 'job', id, 'group', group)
call('ZREM', KEYS[6], id)
call('HSET', KEYS[2], 'entry', entry)
return 1
