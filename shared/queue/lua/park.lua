#!lua flags=allow-oom
-- A run that found no place has never been: its job waits outside of the group's pending entries, in the order of its
-- entry, until it is let in (start.lua claims it anew).
-- KEYS: stream, job, parked, group, things, handed, then for each that was full: running, wanting
-- ARGV: entry, job id, run, queue, group id ('' = none), lease of a place (ms), wake channel, then for each: its name, how
--       many places it has
-- Returns: OK, how many wait for a place (in each) | LOST
--@places
local call = redis.call
local entry, id, run, group, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local j = call('HMGET', KEYS[2], 'run', 'state', 'entry')
if j[3] ~= entry then
	-- The job was deleted, and this entry with it; nobody else will take it off the stream.
	call('XACK', KEYS[1], 'workers', entry)
	call('XDEL', KEYS[1], entry)
	return {'LOST'}
end
if j[1] ~= run then
	return {'LOST'}
end
local answer, woken = {'OK'}, false
if j[2] == 'STARTED' then
	call('HSET', KEYS[2], 'state', 'PENDING')
	call('HDEL', KEYS[2], 'worker', 'started_at')
	call('HINCRBY', KEYS[2], 'attempt', -1)
	if group ~= '' and call('EXISTS', KEYS[4]) == 1 then
		call('HINCRBY', KEYS[4], 'began', -1)
	end
	call('XACK', KEYS[1], 'workers', entry)
	call('ZADD', KEYS[3], turn_of(entry), id)
	local text = ARGV[4] .. ' ' .. entry .. ' ' .. id .. ' ' .. group
	for i = 7, #KEYS, 2 do
		call('ZADD', KEYS[i + 1], turn_of(entry), text)
		call('SADD', KEYS[5], ARGV[i + 1])
	end
	-- A place may have become free since it was asked for.
	local ms = time_ms()
	for i = 7, #KEYS, 2 do
		woken = #let_in(KEYS[i], KEYS[i + 1], KEYS[6], ARGV[i + 1], tonumber(ARGV[i + 2]), ms, ttl) > 0 or woken
	end
end
if woken then
	call('PUBLISH', ARGV[7], 'handed')
end
for i = 7, #KEYS, 2 do
	answer[#answer + 1] = call('ZCARD', KEYS[i + 1])
end
return answer
