#!lua flags=allow-oom
-- Begins a run of the job whose stream entry a slot has just claimed, or (stale >= 0) takes over an entry whose owner is
-- dead: one that has shown no sign of life for `stale` ms, or that was given back; or one that has been let in (places.lua)
-- after it was parked.
-- KEYS: stream, job, waiting, runs, stats, group, epoch, handed, parked
-- ARGV: entry, consumer, job id, worker, stale (ms; < 0 = claimed by this consumer), group id ('' = none), queue
-- Returns: GONE (nothing to do any more) | BUSY (its owner lives)
--       or RUN, run number, an older run may still be alive (0/1), deaths, spec, now (ms), retries spent, outage since (ms),
--          queued at (ms), the entry's run before this one
--       and at the end of each whose place is kept for it ('' = none)
local call = redis.call
local entry, consumer, id, stale = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local reclaimed = stale >= 0
local kept = ''
if reclaimed then
	local text = ARGV[7] .. ' ' .. entry .. ' ' .. id .. ' ' .. ARGV[6]
	kept = call('HGET', KEYS[8], text) or ''
	call('HDEL', KEYS[8], text)
end
-- Who claimed an entry and was stopped before it came here may find it with another worker, or done, or all forgotten.
local pending = redis.pcall('XPENDING', KEYS[1], 'workers', entry, entry, 1)
local p = not pending.err and pending[1]
local parked = kept ~= '' and not p
if parked then
	local claimed = redis.pcall('XCLAIM', KEYS[1], 'workers', consumer, 0, entry, 'FORCE', 'JUSTID')
	p = not claimed.err and claimed[1] and {entry, consumer, 0}
	reclaimed = false
end
if not p then
	return {'GONE', kept}
end
local given_back = reclaimed and p[2] == 'returned'
if not reclaimed and p[2] ~= consumer then
	return {'BUSY', kept}
end
if reclaimed and not given_back and p[3] < stale then
	return {'BUSY', kept}
end
if reclaimed or p[3] > 1000 then
	call('XCLAIM', KEYS[1], 'workers', consumer, 0, entry, 'JUSTID')
end
local j = call('HMGET', KEYS[2], 'entry', 'state', 'spec', 'deaths', 'retried', 'outage_since', 'attempt', 'queued_at', 'run')
if j[1] ~= entry then
	-- Deleted meanwhile (or deleted and queued again under another entry). After a failover the entry may be another job's,
	-- that has got the same id by chance: work.h.
	local e = call('XRANGE', KEYS[1], entry, entry)[1]
	if not e or e[2][2] == id then
		call('XACK', KEYS[1], 'workers', entry)
		call('XDEL', KEYS[1], entry)
	end
	return {'GONE', kept}
end
local deaths = tonumber(j[4] or '0')
if reclaimed and not given_back and j[2] == 'STARTED' then
	deaths = call('HINCRBY', KEYS[2], 'deaths', 1)
	call('HINCRBY', KEYS[5], 'died', 1)
end
local time = call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local run = call('INCR', KEYS[4])
local history, epoch = string.match(call('INFO', 'replication'), 'master_replid:(%x+)') or '', call('HMGET', KEYS[7], 'replid', 'since')
local since = tonumber(epoch[2] or '0')
if run == 1 or epoch[1] ~= history then
	-- A new Redis or an emptied one, one that was started again, or a replica that was promoted: the results databases, and
	-- workers, may hold runs that it never heard of, and a run number never goes back: work.h.
	run = math.max(run + 1e9, ms * 1000)
	since = epoch[1] and ms or 0
	call('SET', KEYS[4], string.format('%.0f', run))
	call('HSET', KEYS[7], 'replid', history, 'since', string.format('%.0f', since))
end
run = string.format('%.0f', run)
-- accept.lua leaves it to the entry's id.
local queued_at = j[8] or string.match(entry, '^%d+')
call('HSET', KEYS[2], 'state', 'STARTED', 'run', run, 'worker', ARGV[4], 'started_at', string.format('%.0f', ms),
	'attempt', (j[7] or 0) + (given_back and 0 or 1), 'queued_at', queued_at)
if given_back then
	call('ZREM', KEYS[3], id)
elseif parked then
	call('ZREM', KEYS[9], id)
end
if ARGV[6] ~= '' then
	call('HINCRBY', KEYS[6], 'began', 1)
end
local fence = reclaimed and not given_back or tonumber(queued_at) < since
return {'RUN', run, fence and 1 or 0, deaths, j[3], ms, j[5] or 0, j[6] or 0, queued_at,
	(reclaimed and not given_back) and j[9] or 0, kept}
