#!lua flags=no-writes
-- How full a queue is.    KEYS: stream, waiting, parked
-- Returns: entries no slot has taken (those of parked jobs too), entries taken, jobs not started (scheduled ones too), age
--       of the oldest untaken (ms), parked jobs
local entries = redis.call('XLEN', KEYS[1])
local later = redis.call('ZCARD', KEYS[2])
if entries == 0 then
	return {0, 0, later, 0, 0}
end
local last, pending = '-', 0
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
	local info = {}
	for i = 1, #g, 2 do
		info[g[i]] = g[i + 1]
	end
	if info['name'] == 'workers' then
		last, pending = '(' .. info['last-delivered-id'], info['pending']
	end
end
local first = redis.call('XRANGE', KEYS[1], last, '+', 'COUNT', 1)[1]
local oldest = first and tonumber(string.match(first[1], '^%d+')) or math.huge
local parked = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if parked[2] then
	oldest = math.min(oldest, math.floor(tonumber(parked[2]) / 1000))
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local age = math.max(0, now - oldest)
return {math.max(0, entries - pending), pending, math.max(0, entries - pending) + later, age, redis.call('ZCARD', KEYS[3])}
