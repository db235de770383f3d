#!lua
-- Accepts jobs that are to run at once, each for itself: what nearly all jobs are, so it does no more than it must
-- (enqueue.lua does the rest: groups, an eta, a job that fails at once). It joins: cmd_joins.
-- KEYS: stream, stats, then of each job: job
-- ARGV: of each job: job id, 1 when it was made at random just now (so that no other job can have it), field of stats,
--       spec (spec.h)
local call = redis.call
local stream, stats = KEYS[1], KEYS[2]
local ok, all, counts, answers = {'OK'}, true, {}, {}

-- Its arguments begin at a. When it was queued is told by the entry's id, which begins with Redis' clock in ms.
local function accept(job, a)
	local id = ARGV[a]
	local state = ARGV[a + 1] ~= '1' and call('HGET', job, 'state')
	if state then
		if state ~= 'SUCCESS' and state ~= 'FAILURE' then
			return {'CONFLICT', 'job', id}
		end
		call('DEL', job)
	end
	local entry = call('XADD', stream, '*', 'job', id)
	call('HSET', job, 'state', 'PENDING', 'entry', entry, 'spec', ARGV[a + 3])
	counts[ARGV[a + 2]] = (counts[ARGV[a + 2]] or 0) + 1
	return ok
end

for i = 1, #KEYS - 2 do
	local done, answer = pcall(accept, KEYS[i + 2], 4 * i - 3)
	-- An error is a text or a table, as the version has it.
	answers[i] = done and answer or redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
	all = all and answer == ok
end
for field, n in pairs(counts) do
	redis.pcall('HINCRBY', stats, field, n)
end
return all and redis.status_reply('ALL OK') or answers
