#!lua flags=no-writes
-- How many places are taken, and how many jobs wait for one.    KEYS: running, wanting
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {redis.call('ZCOUNT', KEYS[1], '(' .. ms, '+inf'), redis.call('ZCARD', KEYS[2])}
