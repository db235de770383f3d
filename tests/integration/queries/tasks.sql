-- Tasks of single tests.

-- name: echo
-- db: ledger
-- results: reports
-- params: first, second
-- description: What was sent,
-- description: as it was sent.
SELECT $1::text AS a, $2::text AS b, $1 IS NULL AS a_is_null, $2 IS NULL AS b_is_null;

-- name: echo_typed
-- db: ledger
-- results: reports
SELECT $1::bigint AS i, $2::numeric AS n, $3::boolean AS b, $4::date AS d, $5::integer[] AS a, $6::jsonb AS j;

-- name: span
-- db: ledger
-- results: reports
-- description: When it ran.
SELECT statement_timestamp() AS began, clock_timestamp() AS ended FROM pg_sleep($1::double precision);

-- name: session
-- db: ledger, mirror
-- results: reports
SELECT pg_backend_pid() AS pid, current_setting('application_name') AS application,
	current_setting('transaction_read_only') AS read_only, current_setting('statement_timeout') AS statement_timeout,
	$1::text AS argument
FROM pg_sleep($2::double precision);

-- name: which_source
-- db: ledger, mirror
-- results: reports
SELECT 'any' AS source;

-- name: no_tags
SELECT 1 AS one;

-- name: in_relaxed
-- results: relaxed
-- db: ledger
SELECT i AS n, repeat('x', $2::integer) AS filler FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: in_unlogged
-- results: unlogged
-- db: ledger
SELECT i AS n, repeat('x', $2::integer) AS filler FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: in_three
-- db: ledger
-- results: reports, relaxed, unlogged
SELECT $1::text AS v;

-- name: gate
-- db: ledger
-- results: reports
-- timeout: 400ms
SELECT count(*) AS n FROM test_gate;

-- name: timed
-- db: ledger
-- results: reports
-- timeout: 300ms
SELECT $1::double precision AS seconds FROM pg_sleep($1::double precision);

-- name: timed_retries
-- db: ledger
-- results: reports
-- timeout: 200ms
-- retries: 2
SELECT $1::double precision AS seconds FROM pg_sleep($1::double precision);

-- name: timed_rows
-- db: ledger
-- results: reports
-- timeout: 300ms
-- description: Rows come quickly, and then none any more.
SELECT i FROM generate_series(1, 100000) AS i WHERE i < 90000 OR pg_sleep(60) IS NULL;

-- name: timed_raw
-- db: ledger
-- results: reports
-- timeout: 300ms
-- raw: true
SELECT $1::double precision AS seconds FROM pg_sleep($1::double precision);

-- name: max_rows
-- db: ledger
-- results: reports
-- max_rows: 10
SELECT i AS n FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: max_rows_copied
-- db: ledger
-- results: reports
-- max_rows: 1000
SELECT i AS n FROM generate_series(1, 1000000) AS i;

-- name: max_bytes
-- db: ledger
-- results: reports
-- max_bytes: 10KB
SELECT repeat('x', 1000) AS filler FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: divide
-- db: ledger
-- results: reports
-- retries: 3
SELECT 10 / $1::integer AS v;

-- name: breaks_late
-- db: ledger
-- results: reports
SELECT i AS n, 10 / ($1::integer - i) AS v FROM generate_series(1, 200000) AS i;

-- name: breaks_late_copied
-- db: ledger
-- results: reports
SELECT i AS n, 10 / (100000 - i) AS v FROM generate_series(1, 200000) AS i;

-- name: unknown_table
-- db: ledger
-- results: reports
-- retries: 3
SELECT * FROM there_is_no_such_table;

-- name: bad_syntax
-- db: ledger
-- results: reports
SELEC 1;

-- name: writes
-- db: ledger
-- results: reports
WITH gone AS (DELETE FROM users WHERE id = $1::bigint RETURNING id) SELECT * FROM gone;

-- name: writes_raw
-- db: ledger
-- results: reports
-- raw: true
CREATE TABLE there_must_be_no_such_table (n integer);

-- name: no_columns
-- db: ledger
-- results: reports
SELECT FROM generate_series(1, 3);

-- name: no_columns_args
-- db: ledger
-- results: reports
SELECT WHERE $1::boolean;

-- name: no_result
-- db: ledger
-- results: reports
-- raw: true
SET LOCAL work_mem = '1MB';

-- name: duplicate_names
-- db: ledger
-- results: reports
SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a, 5, 6, 7 AS "A";

-- name: odd_names
-- db: ledger
-- results: reports
SELECT 1 AS "a""b", 2 AS "select", 3 AS "Ünï côdé", 4 AS "a'; DROP TABLE dungbeetle_results; --", 5 AS " ", 6 AS "%s$1\";

-- name: long_names
-- db: ledger
-- results: reports
SELECT 1 AS abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk,
	2 AS abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk,
	3 AS "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü", 4 AS "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü";

-- name: system_names
-- db: ledger
-- results: reports
SELECT ctid, tableoid, xmin, id FROM users ORDER BY id LIMIT 2;

-- name: types
-- db: ledger
-- results: reports
SELECT * FROM test_types;

-- name: types_args
-- db: ledger
-- results: reports
SELECT * FROM test_types WHERE $1::text IS NOT NULL;

-- name: binary_types
-- db: ledger
-- results: reports
SELECT * FROM test_binary_types;

-- name: binary_types_args
-- db: ledger
-- results: reports
SELECT * FROM test_binary_types WHERE $1::text IS NOT NULL;

-- name: binary_types_relaxed
-- db: ledger
-- results: relaxed
SELECT * FROM test_binary_types;

-- name: searches
-- db: ledger
-- results: reports
SELECT ''::tsquery AS one, ARRAY['', 'a']::tsquery[] AS several;

-- name: types_raw
-- db: ledger, odd
-- results: reports
-- raw: true
SELECT * FROM test_types;

-- name: types_relaxed
-- db: ledger
-- results: relaxed
SELECT * FROM test_types;

-- name: types_beside_foreign
-- db: ledger, odd
-- results: reports
SELECT t.*, '(1,x)'::test_pair AS pair FROM test_types AS t;

-- name: foreign_types
-- db: ledger, odd
-- results: reports
SELECT * FROM test_foreign_types;

-- name: moods
-- db: ledger
-- results: reports
SELECT row_id, mood FROM test_foreign_types;

-- name: moods_args
-- db: ledger
-- results: reports
SELECT row_id, mood FROM test_foreign_types WHERE row_id < $1::integer;

-- name: domains
-- db: ledger
-- results: reports
SELECT * FROM test_domains;

-- name: partial_interval
-- db: ledger
-- results: reports
SELECT '14 months'::interval year to month AS ym, '1 day 02:03:04'::interval day to second(2) AS ds;

-- name: untyped
-- db: ledger
-- results: reports
SELECT NULL AS nothing, 'text' AS literal, $1 AS argument;

-- name: none_of_them
-- db: ledger
-- results: reports
SELECT id, name, amount, created_at FROM entries JOIN users USING (id, created_at) WHERE id < $1::bigint;

-- name: none_copied
-- db: ledger
-- results: reports
SELECT id, amount, created_at, currency FROM entries WHERE id < 0;

-- name: all_null
-- db: ledger
-- results: reports
SELECT NULL::integer AS a, NULL::text AS b, NULL::numeric(5,2) AS c, NULL::timestamptz AS d FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: plain
-- db: ledger
-- results: reports
SELECT id, user_id, entry_date, created_at, amount, currency, kind, memo, balance, flagged FROM entries;

-- name: plain_args
-- db: ledger
-- results: reports
SELECT id, user_id, entry_date, created_at, amount, currency, kind, memo, balance, flagged FROM entries WHERE id >= $1::bigint;

-- name: plain_raw
-- db: ledger
-- results: reports
-- raw: true
SELECT id, user_id, entry_date, created_at, amount, currency, kind, memo, balance, flagged FROM entries WHERE id >= $1::bigint;

-- name: raw_show
-- db: ledger
-- results: reports
-- raw: true
SHOW server_encoding;

-- name: with_first
-- db: ledger
-- results: reports
/* a comment; with a semicolon */ WITH x AS (SELECT '$1; -- name: no' AS v) -- and another
SELECT v FROM x WHERE v <> ';';

-- name: random_hex
-- db: ledger
-- results: reports
-- description: Text that does not compress.
SELECT string_agg(md5(i::text), '') AS hex FROM generate_series(1, $1::integer) AS i;

-- name: versioned
-- db: ledger
-- results: reports
-- description: n rows, all with the same text.
SELECT i AS n, $2::text AS version FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: columns_200
-- db: ledger
-- results: reports
SELECT
	i::integer AS c0, i::text AS c1, i::numeric(12,3) AS c2, NULL::timestamptz AS c3, true::boolean AS c4, i::integer AS c5, i::text AS c6, i::numeric(12,3) AS c7, to_timestamp(i)::timestamptz AS c8, true::boolean AS c9,
	NULL::integer AS c10, i::text AS c11, i::numeric(12,3) AS c12, to_timestamp(i)::timestamptz AS c13, true::boolean AS c14, i::integer AS c15, i::text AS c16, NULL::numeric(12,3) AS c17, to_timestamp(i)::timestamptz AS c18, true::boolean AS c19,
	i::integer AS c20, i::text AS c21, i::numeric(12,3) AS c22, to_timestamp(i)::timestamptz AS c23, NULL::boolean AS c24, i::integer AS c25, i::text AS c26, i::numeric(12,3) AS c27, to_timestamp(i)::timestamptz AS c28, true::boolean AS c29,
	i::integer AS c30, NULL::text AS c31, i::numeric(12,3) AS c32, to_timestamp(i)::timestamptz AS c33, true::boolean AS c34, i::integer AS c35, i::text AS c36, i::numeric(12,3) AS c37, NULL::timestamptz AS c38, true::boolean AS c39,
	i::integer AS c40, i::text AS c41, i::numeric(12,3) AS c42, to_timestamp(i)::timestamptz AS c43, true::boolean AS c44, NULL::integer AS c45, i::text AS c46, i::numeric(12,3) AS c47, to_timestamp(i)::timestamptz AS c48, true::boolean AS c49,
	i::integer AS c50, i::text AS c51, NULL::numeric(12,3) AS c52, to_timestamp(i)::timestamptz AS c53, true::boolean AS c54, i::integer AS c55, i::text AS c56, i::numeric(12,3) AS c57, to_timestamp(i)::timestamptz AS c58, NULL::boolean AS c59,
	i::integer AS c60, i::text AS c61, i::numeric(12,3) AS c62, to_timestamp(i)::timestamptz AS c63, true::boolean AS c64, i::integer AS c65, NULL::text AS c66, i::numeric(12,3) AS c67, to_timestamp(i)::timestamptz AS c68, true::boolean AS c69,
	i::integer AS c70, i::text AS c71, i::numeric(12,3) AS c72, NULL::timestamptz AS c73, true::boolean AS c74, i::integer AS c75, i::text AS c76, i::numeric(12,3) AS c77, to_timestamp(i)::timestamptz AS c78, true::boolean AS c79,
	NULL::integer AS c80, i::text AS c81, i::numeric(12,3) AS c82, to_timestamp(i)::timestamptz AS c83, true::boolean AS c84, i::integer AS c85, i::text AS c86, NULL::numeric(12,3) AS c87, to_timestamp(i)::timestamptz AS c88, true::boolean AS c89,
	i::integer AS c90, i::text AS c91, i::numeric(12,3) AS c92, to_timestamp(i)::timestamptz AS c93, NULL::boolean AS c94, i::integer AS c95, i::text AS c96, i::numeric(12,3) AS c97, to_timestamp(i)::timestamptz AS c98, true::boolean AS c99,
	i::integer AS c100, NULL::text AS c101, i::numeric(12,3) AS c102, to_timestamp(i)::timestamptz AS c103, true::boolean AS c104, i::integer AS c105, i::text AS c106, i::numeric(12,3) AS c107, NULL::timestamptz AS c108, true::boolean AS c109,
	i::integer AS c110, i::text AS c111, i::numeric(12,3) AS c112, to_timestamp(i)::timestamptz AS c113, true::boolean AS c114, NULL::integer AS c115, i::text AS c116, i::numeric(12,3) AS c117, to_timestamp(i)::timestamptz AS c118, true::boolean AS c119,
	i::integer AS c120, i::text AS c121, NULL::numeric(12,3) AS c122, to_timestamp(i)::timestamptz AS c123, true::boolean AS c124, i::integer AS c125, i::text AS c126, i::numeric(12,3) AS c127, to_timestamp(i)::timestamptz AS c128, NULL::boolean AS c129,
	i::integer AS c130, i::text AS c131, i::numeric(12,3) AS c132, to_timestamp(i)::timestamptz AS c133, true::boolean AS c134, i::integer AS c135, NULL::text AS c136, i::numeric(12,3) AS c137, to_timestamp(i)::timestamptz AS c138, true::boolean AS c139,
	i::integer AS c140, i::text AS c141, i::numeric(12,3) AS c142, NULL::timestamptz AS c143, true::boolean AS c144, i::integer AS c145, i::text AS c146, i::numeric(12,3) AS c147, to_timestamp(i)::timestamptz AS c148, true::boolean AS c149,
	NULL::integer AS c150, i::text AS c151, i::numeric(12,3) AS c152, to_timestamp(i)::timestamptz AS c153, true::boolean AS c154, i::integer AS c155, i::text AS c156, NULL::numeric(12,3) AS c157, to_timestamp(i)::timestamptz AS c158, true::boolean AS c159,
	i::integer AS c160, i::text AS c161, i::numeric(12,3) AS c162, to_timestamp(i)::timestamptz AS c163, NULL::boolean AS c164, i::integer AS c165, i::text AS c166, i::numeric(12,3) AS c167, to_timestamp(i)::timestamptz AS c168, true::boolean AS c169,
	i::integer AS c170, NULL::text AS c171, i::numeric(12,3) AS c172, to_timestamp(i)::timestamptz AS c173, true::boolean AS c174, i::integer AS c175, i::text AS c176, i::numeric(12,3) AS c177, NULL::timestamptz AS c178, true::boolean AS c179,
	i::integer AS c180, i::text AS c181, i::numeric(12,3) AS c182, to_timestamp(i)::timestamptz AS c183, true::boolean AS c184, NULL::integer AS c185, i::text AS c186, i::numeric(12,3) AS c187, to_timestamp(i)::timestamptz AS c188, true::boolean AS c189,
	i::integer AS c190, i::text AS c191, NULL::numeric(12,3) AS c192, to_timestamp(i)::timestamptz AS c193, true::boolean AS c194, i::integer AS c195, i::text AS c196, i::numeric(12,3) AS c197, to_timestamp(i)::timestamptz AS c198, NULL::boolean AS c199
FROM generate_series(1, 50) AS i;
