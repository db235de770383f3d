#!lua flags=no-writes
-- Ids of the jobs of a queue that are not yet started, oldest first: those in the stream that no slot has taken, by the
-- time of their entry (ms), and those in `waiting`, by the time they were queued.
-- KEYS: stream, waiting, job of the id behind which to begin    ARGV: that id ('' = from the first), most ids
local call = redis.call
local most = tonumber(ARGV[2])

-- "<ms>-<seq>" of a stream
local function split(id)
	local ms, seq = string.match(id, '^(%d+)-(%d+)$')
	return tonumber(ms), tonumber(seq)
end

-- Where to begin in either: behind `from` in the stream, at the score `least` (us) in `waiting`.
local from, least = '0-0', '-inf'
if ARGV[1] ~= '' then
	local score, entry = call('ZSCORE', KEYS[2], ARGV[1]), call('HGET', KEYS[3], 'entry')
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
local others = call('ZRANGEBYSCORE', KEYS[2], least, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local ids, e, o = {}, 1, 1
while #ids < most and (entries[e] or others[o]) do
	if entries[e] and (not others[o] or split(entries[e][1]) * 1000 <= tonumber(others[o + 1])) then
		ids[#ids + 1] = entries[e][2][2]
		e = e + 1
	else
		ids[#ids + 1] = others[o]
		o = o + 2
	end
end
return ids
