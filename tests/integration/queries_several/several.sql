-- Tasks of test_several_databases.py and test_connections.py, whose configurations have these databases.

-- name: several_any
-- db: one, two
-- results: reports
-- description: Where it ran, and for how long.
-- params: seconds
SELECT pg_catalog.current_setting('port')::integer AS port, pg_catalog.pg_sleep($1::double precision)::text AS slept;

-- name: several_capped
-- db: capped
-- results: capped
-- params: n, seconds
SELECT i AS n, CASE WHEN i = 1 THEN pg_catalog.pg_sleep($2::double precision)::text END AS slept
FROM generate_series(1, $1::integer) AS i;

-- name: several_setting
-- db: ledger, socket
-- results: reports
-- params: name
SELECT pg_catalog.current_setting($1::text, true) AS setting;

-- name: several_key
-- db: by_key
-- results: by_key
SELECT $1::text AS label;

-- name: several_file
-- db: by_file
-- results: by_file
SELECT $1::text AS label;

-- name: several_variable
-- db: by_variable
-- results: by_variable
SELECT $1::text AS label;

-- name: several_wrong
-- db: wrong
-- results: reports
SELECT $1::text AS label;
