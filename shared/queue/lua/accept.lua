#!lua
-- Accepts one job that is to run at once: what nearly all jobs are, so it does no more than it must (enqueue.lua does the
-- rest: groups, an eta, a job that fails at once).
-- KEYS: job, stream, stats    ARGV: job id, field of stats, spec (spec.h)
local call = redis.call
local state = call('HGET', KEYS[1], 'state')
if state then
	if state ~= 'SUCCESS' and state ~= 'FAILURE' then
		return {'CONFLICT', 'job', ARGV[1]}
	end
	call('DEL', KEYS[1])
end
local entry = call('XADD', KEYS[2], '*', 'job', ARGV[1])
-- The entry's id begins with Redis' clock in ms.
call('HSET', KEYS[1], 'state', 'PENDING', 'entry', entry, 'queued_at', string.match(entry, '^%d+'), 'spec', ARGV[3])
call('HINCRBY', KEYS[3], ARGV[2], 1)
return {'OK'}
