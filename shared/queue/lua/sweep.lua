#!lua flags=allow-oom
-- Removes consumers that own nothing: those of one instance that says good-bye, or all that have been idle for long.
-- (XGROUP DELCONSUMER would lose what a consumer has pending: hence the look and the deed in one script.)
-- KEYS: workers, stream    ARGV: instance ('' = any), least idle time (ms), remove the instance itself too (0/1)
local call = redis.call
if ARGV[3] == '1' then
	call('HDEL', KEYS[1], ARGV[1])
end
if call('EXISTS', KEYS[2]) == 0 then
	return 0
end
local removed = 0
for _, c in ipairs(call('XINFO', 'CONSUMERS', KEYS[2], 'workers')) do
	local info = {}
	for i = 1, #c, 2 do
		info[c[i]] = c[i + 1]
	end
	local ours = ARGV[1] == '' or string.sub(info['name'], 1, #ARGV[1] + 1) == ARGV[1] .. '/'
	if ours and info['pending'] == 0 and info['idle'] >= tonumber(ARGV[2]) then
		call('XGROUP', 'DELCONSUMER', KEYS[2], 'workers', info['name'])
		removed = removed + 1
	end
end
return removed
