#!lua flags=allow-oom
-- Frees the places whose lease is over, and those of one entry if that is wanted, and lets in who waits for them.
-- KEYS: things, handed, running, wanting
-- ARGV: name, how many places it has (0 = no limit), lease of a place (ms), wake channel, then the places to free: members
--       of `running`
-- Returns how many wait for a place, is one free (0/1)
--@places
local call = redis.call
for i = 5, #ARGV do
	call('ZREM', KEYS[3], ARGV[i])
end
if #let_in(KEYS[3], KEYS[4], KEYS[2], ARGV[1], tonumber(ARGV[2]), time_ms(), tonumber(ARGV[3])) > 0 then
	call('PUBLISH', ARGV[4], 'handed')
end
local left = call('ZCARD', KEYS[4])
if left == 0 then
	call('SREM', KEYS[1], ARGV[1])
end
local most = tonumber(ARGV[2])
return {left, (most == 0 or call('ZCARD', KEYS[3]) < most) and 1 or 0}
