-- Tasks of test_traffic.py, whose configuration has these sources: one is limited, the other is not.

-- name: traffic_span
-- db: limited
-- results: reports
-- description: When it ran.
-- params: seconds
SELECT statement_timestamp() AS began, clock_timestamp() AS ended, 'traffic in limited' AS mark FROM pg_sleep($1::double precision);

-- name: traffic_free
-- db: free
-- results: reports
-- params: seconds
SELECT statement_timestamp() AS began, clock_timestamp() AS ended, 'traffic in free' AS mark FROM pg_sleep($1::double precision);

-- name: traffic_either
-- db: limited, free
-- results: reports
-- params: seconds
SELECT statement_timestamp() AS began, clock_timestamp() AS ended, current_user::text AS who FROM pg_sleep($1::double precision);

-- name: traffic_rows
-- db: limited
-- results: reports
-- description: n rows, which are streamed; the pause comes at each tenth of them.
-- params: n, seconds
SELECT i, 'traffic in limited' AS mark,
	CASE WHEN i % greatest($1::bigint / 10, 1) = 0 THEN pg_sleep($2::double precision)::text END AS slept
FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: traffic_divide
-- db: limited
-- results: reports
-- params: by
SELECT 'traffic in limited' AS mark, 1 / $1::integer AS quotient FROM pg_sleep(0.02);
