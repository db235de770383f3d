#!lua flags=no-writes
-- Ids of the jobs of a queue that are not yet started, oldest first: those in the stream that no slot has taken, by the
-- time of their entry (ms), those in `parked`, by the same time, and those in `waiting`, by the time they were queued.
-- KEYS: stream, waiting, job of the id behind which to begin, parked    ARGV: that id ('' = from the first), most ids
local call = redis.call
local most = tonumber(ARGV[2])

-- "<ms>-<seq>" of a stream
local function split(id)
	local ms, seq = string.match(id, '^(%d+)-(%d+)$')
	return tonumber(ms), tonumber(seq)
end

-- Where to begin in each: behind `from` in the stream, at the score `least` (us) in `parked` and `waiting`.
local from, least = '0-0', '-inf'
if ARGV[1] ~= '' then
	local score = call('ZSCORE', KEYS[2], ARGV[1]) or call('ZSCORE', KEYS[4], ARGV[1])
	local entry = call('HGET', KEYS[3], 'entry')
	if score then
		from, least = string.format('%.0f-18446744073709551615', math.floor(score / 1000)), '(' .. score
	elseif entry and entry ~= '' then
		from, least = entry, string.format('%.0f', split(entry) * 1000)
	end
end
local entries = {}
if call('EXISTS', KEYS[1]) == 1 then
	for _, g in ipairs(call('XINFO', 'GROUPS', KEYS[1])) do
		local info = {}
		for i = 1, #g, 2 do
			info[g[i]] = g[i + 1]
		end
		if info['name'] == 'workers' then
			local ms, seq = split(info['last-delivered-id'])
			local from_ms, from_seq = split(from)
			if ms > from_ms or (ms == from_ms and seq > from_seq) then
				from = info['last-delivered-id']
			end
		end
	end
	entries = call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', most)
end
local lists, at = {}, {}
for i, key in ipairs({KEYS[4], KEYS[2]}) do
	lists[i], at[i] = call('ZRANGEBYSCORE', key, least, '+inf', 'WITHSCORES', 'LIMIT', 0, most), 1
end

-- The list with the earliest of what is left, and its time; 0 = none.
local function earliest()
	local best, time = 0, math.huge
	for i = 1, 2 do
		local score = tonumber(lists[i][at[i] + 1])
		if score and score < time then
			best, time = i, score
		end
	end
	return best, time
end

local ids, e = {}, 1
while #ids < most do
	local i, time = earliest()
	if entries[e] and split(entries[e][1]) * 1000 <= time then
		ids[#ids + 1] = entries[e][2][2]
		e = e + 1
	elseif i > 0 then
		ids[#ids + 1] = lists[i][at[i]]
		at[i] = at[i] + 2
	else
		break
	end
end
return ids
