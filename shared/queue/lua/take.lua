#!lua flags=allow-oom
-- A run takes a place in its source database, in its queue, or in both: all that it asks for, or none.
-- KEYS: handed, stream, then for each: running, wanting
-- ARGV: entry, job id, run, run of its entry before this one (0 = none), lease of a place (ms), wake channel, how the key of
--       a job begins, the source, the tasks that have no other ("\nname\nname\n"), then for each: its name, how many places it
--       has
-- Returns: TAKEN | FULL, the numbers (from 0) of those that are full | EARLY: places are free, but older entries of the queue
--          have been claimed a moment ago that are about to ask for them; ask again in another moment
--@places
local call = redis.call
local entry, id, run, before, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local ms = time_ms()
local n = (#KEYS - 2) / 2
local me = entry .. ' ' .. id .. ' '
-- For how long a claimed entry is thought to be on its way here. Redis hears nothing of a claimed job that needs no place, nor
-- of a worker's death; it is a thousand times what it takes.
local moment = 250
local claimed

-- Is it a job that runs with such a place only?
local function needs(thing, job)
	if thing ~= 'db:' .. ARGV[8] then
		return true -- the queue's
	end
	local spec = call('HGET', ARGV[7] .. job, 'spec')
	local db = spec and string.match(spec, '\ndb=([^\n]*)')
	if db then
		return db == ARGV[8]
	end
	return spec and string.find(ARGV[9], '\n' .. (string.match(spec, '^task=([^\n]*)') or '') .. '\n', 1, true) ~= nil
end

-- Are as many that came before us, and want the same, still without a place?
local function on_their_way(running, thing, many)
	local have = {}
	for _, member in ipairs(call('ZRANGE', running, 0, -1)) do
		have[string.match(member, '^%S+')] = true
	end
	claimed = claimed or redis.pcall('XPENDING', KEYS[2], 'workers', '-', '(' .. entry, 1000)
	local found = 0
	for _, p in ipairs(claimed) do
		if p[3] < moment and not have[p[1]] then
			local e = call('XRANGE', KEYS[2], p[1], p[1])[1]
			found = found + (e and needs(thing, e[2][2]) and 1 or 0)
			if found >= many then
				return true
			end
		end
	end
	return false
end

local own, has_own, free, full = {}, false, {}, {'FULL'}
for i = 1, n do
	local running, wanting, most = KEYS[1 + 2 * i], KEYS[2 + 2 * i], tonumber(ARGV[9 + 2 * i])
	call('ZREMRANGEBYSCORE', running, '-inf', ms)
	-- What was kept for it, or what a dead worker's run of it had, is its own; whoever has none comes after all that
	-- wait for longer.
	own[i] = call('ZREM', running, me .. '0', me .. before, me .. run) > 0
	has_own = has_own or own[i]
	local ahead = own[i] and 0 or call('ZCOUNT', wanting, '-inf', '(' .. turn_of(entry))
	free[i] = most - call('ZCARD', running) - ahead
	if free[i] <= 0 then
		full[#full + 1] = i - 1
	end
end
for i = 1, (has_own or #full > 1) and 0 or n do
	if on_their_way(KEYS[1 + 2 * i], ARGV[8 + 2 * i], free[i]) then
		return {'EARLY'}
	end
end
local woken = false
for i = 1, n do
	local running, wanting, thing, most = KEYS[1 + 2 * i], KEYS[2 + 2 * i], ARGV[8 + 2 * i], tonumber(ARGV[9 + 2 * i])
	if #full == 1 then
		call('ZADD', running, ms + ttl, me .. run)
	elseif own[i] and #let_in(running, wanting, KEYS[1], thing, most, ms, ttl) > 0 then
		woken = true
	end
end
if woken then
	call('PUBLISH', ARGV[6], 'handed')
end
return #full > 1 and full or {'TAKEN'}
