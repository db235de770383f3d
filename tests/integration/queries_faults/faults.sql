-- Tasks of the fault tests. A gate is an advisory lock that a test holds: a query waits at it until the test opens it.

-- name: fault_gated
-- db: ledger
-- results: reports
-- description: n rows; waits at the gate before the row `at` (0: never).
-- params: n, at, gate
SELECT i AS n, repeat('x', 100) AS filler,
	CASE WHEN i = $2::bigint THEN pg_advisory_xact_lock_shared($3::bigint)::text END AS held
FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: fault_label
-- db: ledger
-- results: reports
-- description: n rows that all bear the label; waits at the gate (0: there is none) before the first one.
-- params: n, label, gate
SELECT i AS n, $2::text AS label, CASE WHEN i = 1 AND $3::bigint <> 0 THEN pg_advisory_xact_lock_shared($3::bigint)::text END AS held
FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: fault_quick
-- db: ledger
-- results: reports
SELECT $1::text AS label;

-- name: fault_sleep
-- db: ledger
-- results: reports
SELECT $1::text AS label FROM pg_sleep($2::double precision);

-- name: fault_storm
-- db: ledger
-- results: reports
-- description: The entries of a user, `times` times, after some seconds of pause.
-- params: user_id, times, seconds
SELECT e.id, e.created_at, e.amount, e.memo, t
FROM (SELECT pg_sleep($3::double precision)) AS pause, generate_series(1, $2::integer) AS t, entries AS e
WHERE e.user_id = $1::bigint;

-- name: fault_storm_relaxed
-- db: ledger
-- results: relaxed
-- params: user_id, times, seconds
SELECT e.id, e.created_at, e.amount, e.memo, t
FROM (SELECT pg_sleep($3::double precision)) AS pause, generate_series(1, $2::integer) AS t, entries AS e
WHERE e.user_id = $1::bigint;

-- name: fault_storm_unlogged
-- db: ledger
-- results: unlogged
-- params: user_id, times, seconds
SELECT e.id, e.created_at, e.amount, e.memo, t
FROM (SELECT pg_sleep($3::double precision)) AS pause, generate_series(1, $2::integer) AS t, entries AS e
WHERE e.user_id = $1::bigint;

-- name: fault_relaxed
-- db: ledger
-- results: relaxed
-- params: n, label, gate
SELECT i AS n, $2::text AS label, CASE WHEN i = 1 AND $3::bigint <> 0 THEN pg_advisory_xact_lock_shared($3::bigint)::text END AS held
FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: fault_many_args
-- db: ledger
-- results: reports
-- description: The ledger, `times` times, one row at a time.
-- params: times
SELECT e.* FROM entries AS e, generate_series(1, $1::integer);

-- name: fault_many_copied_50
-- db: ledger
-- results: reports
-- description: The ledger 50 times, as a COPY stream.
SELECT e.* FROM entries AS e, generate_series(1, 50);

-- name: fault_many_copied_500
-- db: ledger
-- results: reports
SELECT e.* FROM entries AS e, generate_series(1, 500);

-- name: fault_many_copied_2500
-- db: ledger
-- results: reports
SELECT e.* FROM entries AS e, generate_series(1, 2500);

-- name: fault_parked
-- db: ledger
-- results: reports
-- queue: parked
-- description: No worker serves its queue.
SELECT $1::text AS label;
