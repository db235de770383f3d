-- The reports of the benchmarks; the floors run the same queries (figures_jobs.py reads them from here).

-- name: bench_big
-- db: ledger
-- results: unlogged
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged
FROM entries;

-- name: bench_big_args
-- db: ledger
-- results: unlogged
-- queue: bench
-- Every user's number is above 0: the same rows, on the way of a query with an argument.
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged
FROM entries
WHERE user_id > $1::bigint;

-- name: bench_huge
-- db: ledger
-- results: unlogged
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries
UNION ALL SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries
UNION ALL SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries
UNION ALL SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries
UNION ALL SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_huge_args
-- db: ledger
-- results: unlogged
-- queue: bench
SELECT e.id, e.user_id, e.entry_date, e.created_at, e.amount, e.currency, e.memo, e.flagged
FROM (
	SELECT * FROM entries
	UNION ALL SELECT * FROM entries
	UNION ALL SELECT * FROM entries
	UNION ALL SELECT * FROM entries
	UNION ALL SELECT * FROM entries
) AS e
WHERE e.user_id > $1::bigint;

-- name: bench_many
-- db: ledger
-- results: unlogged
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged
FROM entries
WHERE id BETWEEN $1::bigint AND $1::bigint + 19999;

-- name: bench_small
-- db: ledger
-- results: relaxed
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged
FROM entries
WHERE id BETWEEN $1::bigint AND $1::bigint + 9;

-- name: bench_post
-- db: ledger
-- results: relaxed
-- queue: posts
SELECT id, amount, memo
FROM entries
WHERE user_id = $1::bigint AND entry_date BETWEEN $2::date AND $3::date AND currency = $4 AND memo <> $5;
