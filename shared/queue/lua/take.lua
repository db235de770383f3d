#!lua flags=allow-oom
-- A run takes a place in its source database, in its queue, or in both: all that it asks for, or none.
-- KEYS: handed, then for each: running, wanting
-- ARGV: entry, job id, run, run of its entry before this one (0 = none), lease of a place (ms), wake channel, then for
--       each: its name, how many places it has
-- Returns: TAKEN | FULL, the numbers (from 0) of those that are full
--@places
local call = redis.call
local entry, id, run, before, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local ms = time_ms()
local n = (#KEYS - 1) / 2
local me = entry .. ' ' .. id .. ' '
local own, full = {}, {'FULL'}
for i = 1, n do
	local running, wanting, most = KEYS[2 * i], KEYS[2 * i + 1], tonumber(ARGV[6 + 2 * i])
	call('ZREMRANGEBYSCORE', running, '-inf', ms)
	-- What was kept for it, or what a dead worker's run of it had, is its own; whoever has none comes after all that
	-- wait for longer.
	own[i] = call('ZREM', running, me .. '0', me .. before, me .. run) > 0
	local ahead = own[i] and 0 or call('ZCOUNT', wanting, '-inf', '(' .. turn_of(entry))
	if most - call('ZCARD', running) <= ahead then
		full[#full + 1] = i - 1
	end
end
local woken = false
for i = 1, n do
	local running, wanting, thing, most = KEYS[2 * i], KEYS[2 * i + 1], ARGV[5 + 2 * i], tonumber(ARGV[6 + 2 * i])
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
