#!lua
-- Accepts one job or a whole group: all of it, or nothing and the name of what stands in the way. (accept.lua: one job that
-- is to run at once.)
-- KEYS: stats, scheduled, group, group jobs, group wait, then for each job: job, stream, waiting
-- ARGV: number of jobs, group id ('' = none), its concurrency (0 = no limit), state ttl of a job that fails at once (ms),
--       wake channel, then for each job: id, eta (ms, 0 = now), error ('' = none), task, queue, spec (spec.h)
local n, group, conc = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local call = redis.call

-- Look before the first write: there is no rollback.
if group ~= '' then
	local g = call('HMGET', KEYS[3], 'n', 'success', 'failure')
	if g[1] and tonumber(g[2]) + tonumber(g[3]) < tonumber(g[1]) then
		return {'CONFLICT', 'group', group}
	end
end
local at = 6
for i = 1, n do
	local state = call('HGET', KEYS[3 + 3 * i], 'state')
	if state == 'PENDING' or state == 'STARTED' or state == 'RETRY' then
		return {'CONFLICT', 'job', ARGV[at]}
	end
	at = at + 6
end

local time = call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ms = math.floor(us / 1000)
local now = string.format('%.0f', ms)
local active, failed, woken = 0, 0, false
if group ~= '' then
	call('DEL', KEYS[3], KEYS[4], KEYS[5])
end
at = 6
for i = 1, n do
	local job, stream, waiting = KEYS[3 + 3 * i], KEYS[4 + 3 * i], KEYS[5 + 3 * i]
	local id, eta, err, task, queue = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
	local entry, state = '', 'PENDING'
	call('DEL', job)
	if err ~= '' then
		state = 'FAILURE'
		failed = failed + 1
		call('HSET', job, 'error', err, 'finished_at', now)
		call('HINCRBY', KEYS[1], 'finished|' .. task .. '|FAILURE', 1)
	elseif eta > ms then
		call('ZADD', KEYS[2], eta, id)
		woken = true
	elseif conc > 0 and active >= conc then
		call('RPUSH', KEYS[5], id)
	else
		active = active + 1
		entry = call('XADD', stream, '*', 'job', id, 'group', group)
	end
	call('HSET', job, 'state', state, 'entry', entry, 'queued_at', now, 'spec', ARGV[at + 5])
	if state == 'PENDING' and entry == '' then
		call('ZADD', waiting, string.format('%.0f', us + i - 1), id)
	elseif state ~= 'PENDING' then
		call('PEXPIRE', job, ARGV[4])
	end
	call('HINCRBY', KEYS[1], 'accepted|' .. queue .. '|' .. task, 1)
	if group ~= '' then
		call('RPUSH', KEYS[4], id)
	end
	at = at + 6
end
if group ~= '' then
	call('HSET', KEYS[3], 'n', n, 'concurrency', conc, 'active', active, 'success', 0, 'failure', failed, 'ttl', ARGV[4])
	if failed == n then
		call('PEXPIRE', KEYS[3], ARGV[4])
		call('PEXPIRE', KEYS[4], ARGV[4])
	end
end
if woken then
	call('PUBLISH', ARGV[5], 'scheduled')
end
return {'OK'}
