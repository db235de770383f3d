-- Tasks of the integration tests. All are stable: other test files rely on them.

-- name: numbers
-- db: ledger, mirror
-- results: reports
-- description: The numbers from 1 to n.
-- params: n
SELECT i AS n, 'number ' || i AS name FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: wide_rows
-- db: ledger
-- results: reports
-- params: n, bytes
SELECT i AS n, repeat(chr(97 + (i % 26)::integer), $2::integer) AS filler FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: sleep
-- db: ledger, mirror
-- results: reports
-- params: seconds
SELECT $1::double precision AS seconds, clock_timestamp() AS ended_at FROM pg_sleep($1::double precision);

-- name: slow_rows
-- db: ledger
-- results: reports
-- description: n rows, one each pause seconds.
-- params: n, pause
SELECT i AS n, pg_sleep($2::double precision)::text AS slept FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: nothing_asked
-- db: ledger
-- results: reports
-- description: No parameters at all.
SELECT 1 AS one, 'two'::text AS two;
