#!lua
-- Accepts jobs that are to run at once, each for itself: what nearly all jobs are, so it does no more than it must
-- (enqueue.lua does the rest: groups, an eta, a job that fails at once). It joins: cmd_joins.
-- KEYS: for each job: job, stream, stats    ARGV: for each job: job id, field of stats, spec (spec.h)
local call = redis.call
local ok, counts, answers = {'OK'}, {}, {}

local function accept(i)
	local job, id = KEYS[i - 2], ARGV[i - 2]
	local state = call('HGET', job, 'state')
	if state then
		if state ~= 'SUCCESS' and state ~= 'FAILURE' then
			return {'CONFLICT', 'job', id}
		end
		call('DEL', job)
	end
	local entry = call('XADD', KEYS[i - 1], '*', 'job', id)
	-- The entry's id begins with Redis' clock in ms.
	call('HSET', job, 'state', 'PENDING', 'entry', entry, 'queued_at', string.match(entry, '^%d+'), 'spec', ARGV[i])
	counts[ARGV[i - 1]] = (counts[ARGV[i - 1]] or 0) + 1
	return ok
end

for i = 3, #KEYS, 3 do
	local done, answer = pcall(accept, i)
	-- An error is a text or a table, as the version has it.
	answers[i / 3] = done and answer or redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
end
for field, n in pairs(counts) do
	redis.pcall('HINCRBY', KEYS[3], field, n)
end
return answers
