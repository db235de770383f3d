#!lua flags=allow-oom
-- Cancels (and with purge forgets finished) jobs: all or none.
-- A pending job's stream entry stays until a slot meets it (start.lua): XDEL of an entry that is not delivered yet would
-- make the group's lag unknown in XINFO. So does what a parked job waits for.
-- KEYS: scheduled, purges, group, group jobs, group wait (of the jobs' one group; unused when it is ''), runs,
--       then for each job: job, waiting, parked
-- ARGV: number of jobs, group id ('' = none), forget the group too (0/1), purge (0/1), cancel channel, wake channel,
--       then for each job: id, queue
local n, group, whole, purge = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1', ARGV[4] == '1'
local call = redis.call
local jobs, finished, found = {}, 0, 0
for i = 1, n do
	local j = call('HMGET', KEYS[4 + 3 * i], 'state', 'spec', 'run', 'entry')
	if j[1] then
		found = found + 1
		if string.match(j[2], '\nqueue=([^\n]*)') ~= ARGV[6 + 2 * i] or (string.match(j[2], '\ngroup=([^\n]*)') or '') ~= group then
			return {'CHANGED'}
		end
		if j[1] == 'SUCCESS' or j[1] == 'FAILURE' then
			finished = finished + 1
		end
	end
	jobs[i] = j
end
if found == 0 and not (whole and purge) then
	return {'GONE'}
end
-- A group that still runs is cancelled although some of its jobs have ended; a lone finished job, or a finished group, is not.
if finished > 0 and not purge and (finished == found or not whole) then
	return {'FINISHED'}
end
local freed = 0
for i = 1, n do
	local j, job, waiting, id = jobs[i], KEYS[4 + 3 * i], KEYS[5 + 3 * i], ARGV[5 + 2 * i]
	local state, run = j[1], j[3]
	local ended = state == 'SUCCESS' or state == 'FAILURE'
	if state and (purge or not ended) then
		call('DEL', job)
		call('ZREM', waiting, id)
		call('ZREM', KEYS[6 + 3 * i], id)
		call('ZREM', KEYS[1], id)
		if not ended and j[4] and j[4] ~= '' then
			freed = freed + 1
		end
		if group ~= '' and not ended then
			call('LREM', KEYS[5], 1, id)
		end
		if purge then
			-- It may not have run yet under an id whose older result is still there.
			run = run or call('GET', KEYS[6])
		end
		if run and (purge or state == 'STARTED') then
			-- Whatever a run of it has published, or still may publish, is dropped by a worker's janitor.
			call('HSET', KEYS[2], id, run .. ' ' .. string.match(j[2], '\nresults=([^\n]*)'))
			call('PUBLISH', ARGV[6], 'purge')
		end
		if state == 'STARTED' then
			call('PUBLISH', ARGV[5], id .. ' ' .. run)
		end
		if group ~= '' and not whole then
			call('LREM', KEYS[4], 1, id)
			if ended then
				call('HINCRBY', KEYS[3], state == 'SUCCESS' and 'success' or 'failure', -1)
			end
			if call('HINCRBY', KEYS[3], 'n', -1) == 0 then
				call('DEL', KEYS[3], KEYS[4], KEYS[5])
			end
		end
	end
end
if whole then
	if purge or finished == 0 then
		call('DEL', KEYS[3], KEYS[4], KEYS[5])
	else
		-- What has ended stays readable as a group of its own.
		for i = 1, n do
			local state = jobs[i][1]
			if state ~= 'SUCCESS' and state ~= 'FAILURE' then
				call('LREM', KEYS[4], 1, ARGV[5 + 2 * i])
			end
		end
		call('DEL', KEYS[5])
		call('HSET', KEYS[3], 'n', finished, 'active', 0)
	end
elseif group ~= '' and freed > 0 and call('EXISTS', KEYS[3]) == 1 then
	-- The freed place goes to the next job that waits for one.
	call('HINCRBY', KEYS[3], 'active', -1)
	local next_id = call('LPOP', KEYS[5])
	if next_id then
		call('ZADD', KEYS[1], 0, next_id)
		call('PUBLISH', ARGV[6], 'scheduled')
	end
end
if group ~= '' then
	-- When all that is left of it has ended, nobody else will come to give it its time to live.
	local g = call('HMGET', KEYS[3], 'n', 'success', 'failure', 'ttl')
	if g[1] and tonumber(g[2]) + tonumber(g[3]) >= tonumber(g[1]) and call('PTTL', KEYS[3]) == -1 then
		call('PEXPIRE', KEYS[3], g[4])
		call('PEXPIRE', KEYS[4], g[4])
	end
end
return {'OK'}
