-- The HTTP load: wrk -s load.lua URL -- [body]. With a body the requests are POSTs. One line of JSON tells how it went.
function init(args)
	if args[1] then
		wrk.method = "POST"
		wrk.body = args[1]
		wrk.headers["Content-Type"] = "application/json"
	end
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format(
		'{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"not_2xx":%d,"broken":%d}\n',
		summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
		e.status, e.connect + e.read + e.write + e.timeout))
end
