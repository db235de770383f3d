#!lua flags=allow-oom
-- Ends a run, if it is the current one.
-- KEYS: stream, job, waiting, scheduled, stats, group, group jobs, group wait; and of one that has places: handed, then for
--       each of them: running, wanting
-- ARGV: entry, job id, run, outcome, error, rows, table, delay (ms), state ttl (ms), group id ('' = none), wake channel,
--       ttl of the result (ms), task, and how long it ran and waited: field of the bucket, ms, field of the bucket, ms;
--       and of one that has places: queue, does the caller take the next job (0/1), lease of a place (ms), then for each of
--       them: its name, how many places it has
-- outcome: SUCCESS, FAILURE | RETRY (run again after delay; cost one of its retries) | WAIT (the same, cost nothing)
--       | RETURN (the worker is going: any other takes it over at once, cost nothing)
-- Returns: OK | LOST (another run is current, or the job was deleted: the caller's work must not show)
--       then, when a freed place lets in a job of the same queue, that the caller is to start: entry, job id, group id
--@places
local call = redis.call
local entry, id, run, outcome, group, task = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[10], ARGV[13]

-- The run's places go to those who wait for one, whatever else is said.
local function leave(answer)
	local woken = false
	for i = 10, #KEYS, 2 do
		call('ZREM', KEYS[i], entry .. ' ' .. id .. ' ' .. run)
		for _, text in ipairs(let_in(KEYS[i], KEYS[i + 1], KEYS[9], ARGV[i + 11], tonumber(ARGV[i + 12]), time_ms(), tonumber(ARGV[20]))) do
			local queue, its_entry, its_id, its_group = string.match(text, '^(%S+) (%S+) (%S+) (%S*)$')
			if not answer[2] and ARGV[19] == '1' and queue == ARGV[18] then
				answer[2], answer[3], answer[4] = its_entry, its_id, its_group
			else
				woken = true
			end
		end
	end
	if woken then
		call('PUBLISH', ARGV[11], 'handed')
	end
	return answer
end

local j = call('HMGET', KEYS[2], 'run', 'state', 'entry', 'queued_at')
if j[1] ~= run or j[3] ~= entry then
	if j[1] == run and j[2] ~= 'STARTED' then
		return leave({'OK'}) -- said before; that answer was lost on the way
	end
	if j[3] ~= entry then
		-- The job was deleted, and this entry with it; nobody else will take it off the stream. (Unless there was a failover,
		-- and the entry is another job's that has got the same id by chance: work.h.)
		local e = call('XRANGE', KEYS[1], entry, entry)[1]
		if not e or e[2][2] == id then
			call('XACK', KEYS[1], 'workers', entry)
			call('XDEL', KEYS[1], entry)
		end
	end
	return leave({'LOST'})
end
if j[2] ~= 'STARTED' then
	return leave({'OK'}) -- as above
end
local ms = time_ms()
local now = string.format('%.0f', ms)

if outcome == 'RETURN' then
	-- Stays pending under a name of its own, older than any lease, so that it keeps its place before all that waits.
	call('HSET', KEYS[2], 'state', 'PENDING')
	call('HDEL', KEYS[2], 'worker', 'started_at')
	call('XCLAIM', KEYS[1], 'workers', 'returned', 0, entry, 'IDLE', 86400000, 'JUSTID')
	call('ZADD', KEYS[3], j[4] * 1000, id)
	-- Its places are kept for it: it comes before those that wait.
	local ms = time_ms()
	for i = 10, #KEYS, 2 do
		if call('ZREM', KEYS[i], entry .. ' ' .. id .. ' ' .. run) == 1 then
			call('ZADD', KEYS[i], ms + tonumber(ARGV[20]), entry .. ' ' .. id .. ' 0')
			call('HSETNX', KEYS[9], ARGV[18] .. ' ' .. entry .. ' ' .. id .. ' ' .. group, ARGV[i + 11])
		end
	end
	call('PUBLISH', ARGV[11], KEYS[9] and 'handed' or 'returned')
	return {'OK'}
end

call('XACK', KEYS[1], 'workers', entry)
call('XDEL', KEYS[1], entry)
if outcome == 'RETRY' or outcome == 'WAIT' then
	call('HSET', KEYS[2], 'state', 'RETRY', 'entry', '', 'error', ARGV[5])
	call('HDEL', KEYS[2], 'worker', 'started_at')
	if outcome == 'RETRY' then
		call('HINCRBY', KEYS[2], 'retried', 1)
		call('HDEL', KEYS[2], 'outage_since')
		call('HINCRBY', KEYS[5], 'retried|' .. task, 1)
	else
		call('HSETNX', KEYS[2], 'outage_since', now)
	end
	call('ZADD', KEYS[4], string.format('%.0f', ms + tonumber(ARGV[8])), id)
	call('ZADD', KEYS[3], j[4] * 1000, id)
	call('PUBLISH', ARGV[11], 'scheduled')
else
	local expires = outcome == 'SUCCESS' and string.format('%.0f', ms + tonumber(ARGV[12])) or ''
	call('HSET', KEYS[2], 'state', outcome, 'error', ARGV[5], 'rows', ARGV[6], 'table', ARGV[7], 'finished_at', now,
		'expires_at', expires)
	call('PEXPIRE', KEYS[2], ARGV[9])
	call('HINCRBY', KEYS[5], 'finished|' .. task .. '|' .. outcome, 1)
	if ARGV[6] ~= '0' then
		call('HINCRBY', KEYS[5], 'rows', ARGV[6])
	end
	call('HINCRBY', KEYS[5], ARGV[14], 1)
	call('HINCRBY', KEYS[5], 'run_ms_sum', ARGV[15])
	call('HINCRBY', KEYS[5], ARGV[16], 1)
	call('HINCRBY', KEYS[5], 'wait_ms_sum', ARGV[17])
end

if group ~= '' and call('EXISTS', KEYS[6]) == 1 then
	call('HINCRBY', KEYS[6], 'active', -1)
	local next_id = call('LPOP', KEYS[8])
	if next_id then
		call('ZADD', KEYS[4], 0, next_id)
		call('PUBLISH', ARGV[11], 'scheduled')
	end
	if outcome == 'SUCCESS' or outcome == 'FAILURE' then
		call('HINCRBY', KEYS[6], outcome == 'SUCCESS' and 'success' or 'failure', 1)
		local g = call('HMGET', KEYS[6], 'n', 'success', 'failure')
		if tonumber(g[2]) + tonumber(g[3]) >= tonumber(g[1]) then
			call('PEXPIRE', KEYS[6], ARGV[9])
			call('PEXPIRE', KEYS[7], ARGV[9])
		end
	end
end
return leave({'OK'})
