#!lua
-- Accepts jobs that are to run at once, each for itself: what nearly all jobs are, so it does no more than it must
-- (enqueue.lua does the rest: groups, an eta, a job that fails at once). It joins: cmd_joins.
-- KEYS: for each job: job, stream, stats
-- ARGV: for each job: job id, 1 when it was made at random just now (so that no other job can have it), field of stats,
--       spec (spec.h)
local call = redis.call
local ok, counts, answers = {'OK'}, {}, {}

-- Its keys begin at k, its arguments at a. When it was queued is told by the entry's id, which begins with Redis' clock in ms.
local function accept(k, a)
	local job, id = KEYS[k], ARGV[a]
	local state = ARGV[a + 1] ~= '1' and call('HGET', job, 'state')
	if state then
		if state ~= 'SUCCESS' and state ~= 'FAILURE' then
			return {'CONFLICT', 'job', id}
		end
		call('DEL', job)
	end
	local entry = call('XADD', KEYS[k + 1], '*', 'job', id)
	call('HSET', job, 'state', 'PENDING', 'entry', entry, 'spec', ARGV[a + 3])
	counts[ARGV[a + 2]] = (counts[ARGV[a + 2]] or 0) + 1
	return ok
end

for i = 1, #KEYS / 3 do
	local done, answer = pcall(accept, 3 * i - 2, 4 * i - 3)
	-- An error is a text or a table, as the version has it.
	answers[i] = done and answer or redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
end
for field, n in pairs(counts) do
	redis.pcall('HINCRBY', KEYS[3], field, n)
end
return answers
