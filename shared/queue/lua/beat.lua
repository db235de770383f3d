#!lua flags=allow-oom
-- A worker's sign of life: renews the lease of each of its runs and says which runs are no longer its own.
-- XCLAIM alone would steal an entry back that another worker has taken over: the owner is looked at first.
-- KEYS: workers, then for each run: stream, job; then for each place that one of them has: running
-- ARGV: instance, its JSON ('' = leave it), number of runs, then for each run: entry, consumer, run; then, if there are
--       places, their lease (ms), and for each: the number (from 0) of its run, the member of `running`
-- Returns the numbers (from 0) of the runs that are lost
local call = redis.call
if ARGV[2] ~= '' then
	local time = call('TIME')
	call('HSET', KEYS[1], ARGV[1], (string.gsub(ARGV[2], '@beat@', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))))
end
local lost, lives = {}, {}
local n = tonumber(ARGV[3])
for i = 1, n do
	local stream, job = KEYS[2 * i], KEYS[2 * i + 1]
	local entry, consumer, run = ARGV[1 + 3 * i], ARGV[2 + 3 * i], ARGV[3 + 3 * i]
	local mine = call('HGET', job, 'run') == run and call('EXISTS', stream) == 1
	if mine then
		local p = call('XPENDING', stream, 'workers', entry, entry, 1)[1]
		mine = p and p[2] == consumer
	end
	if mine then
		call('XCLAIM', stream, 'workers', consumer, 0, entry, 'JUSTID')
		lives[i - 1] = true
	else
		lost[#lost + 1] = i - 1
	end
end
local over
for i = 2 + 2 * n, #KEYS do
	local at = 5 + 3 * n + 2 * (i - 2 - 2 * n)
	if lives[tonumber(ARGV[at])] then
		if not over then
			local time = call('TIME')
			over = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[4 + 3 * n])
		end
		call('ZADD', KEYS[i], over, ARGV[at + 1])
	end
end
return lost
