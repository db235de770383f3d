-- Places (queue.h). A member of `running` is "<entry> <job id> <run>", its score the end of its lease; run 0: it is kept
-- for a job that has been let in and not yet started. A member of `wanting`, and a field of `handed`, is
-- "<queue> <entry> <job id> <group>", its score the time of its entry: who came first is let in first.
local function time_ms()
	local time = redis.call('TIME')
	return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The place in line of an entry: its time in us, entries of one ms by their number.
local function turn_of(entry)
	local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
	return string.format('%.0f', tonumber(ms) * 1000 + math.min(tonumber(seq), 999))
end

-- Gives the free places (most: how many there are, 0 = no limit) to those who wait for one, and lists them.
local function let_in(running, wanting, handed, thing, most, ms, ttl)
	local found = {}
	redis.call('ZREMRANGEBYSCORE', running, '-inf', ms)
	while #found < 100 and (most == 0 or redis.call('ZCARD', running) < most) do
		local text = redis.call('ZPOPMIN', wanting)[1]
		if not text then
			break
		end
		-- Who waits for a place in one of several databases may have been let in by another of them.
		if redis.call('HSETNX', handed, text, thing) == 1 then
			local entry, id = string.match(text, '^%S+ (%S+) (%S+)')
			redis.call('ZADD', running, ms + ttl, entry .. ' ' .. id .. ' 0')
			found[#found + 1] = text
		end
	end
	return found
end
