#!lua flags=allow-oom
-- A worker's sign of life: renews the lease of each of its runs and says which runs are no longer its own.
-- XCLAIM alone would steal an entry back that another worker has taken over: the owner is looked at first.
-- KEYS: workers, then for each run: stream, job
-- ARGV: instance, its JSON ('' = leave it), number of runs, then for each run: entry, consumer, run
-- Returns the numbers (from 0) of the runs that are lost
local call = redis.call
if ARGV[2] ~= '' then
	local time = call('TIME')
	call('HSET', KEYS[1], ARGV[1], (string.gsub(ARGV[2], '@beat@', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))))
end
local lost = {}
for i = 1, tonumber(ARGV[3]) do
	local stream, job = KEYS[2 * i], KEYS[2 * i + 1]
	local entry, consumer, run = ARGV[1 + 3 * i], ARGV[2 + 3 * i], ARGV[3 + 3 * i]
	local mine = call('HGET', job, 'run') == run and call('EXISTS', stream) == 1
	if mine then
		local p = call('XPENDING', stream, 'workers', entry, entry, 1)[1]
		mine = p and p[2] == consumer
	end
	if mine then
		call('XCLAIM', stream, 'workers', consumer, 0, entry, 'JUSTID')
	else
		lost[#lost + 1] = i - 1
	end
end
return lost
