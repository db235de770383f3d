-- The reports of the benchmarks across engines (figures_engines.py); the ledger is the same in each.

-- name: bench_my_my
-- db: my
-- results: my
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_my_pg
-- db: my
-- results: unlogged
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_pg_my
-- db: ledger
-- results: my
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_ch_pg
-- db: ch
-- results: unlogged
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_ch_my
-- db: ch
-- results: my
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged FROM entries;

-- name: bench_small_my
-- db: my
-- results: my
-- queue: bench
SELECT id, user_id, entry_date, created_at, amount, currency, memo, flagged
FROM entries
WHERE id >= ?
ORDER BY id
LIMIT 10;
