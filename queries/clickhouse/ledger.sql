-- Sample tasks: the reports of ../ledger.sql in ClickHouse's dialect, for the ledger that `make up DB=clickhouse` generates.
-- A job's arguments take the places of the question marks as quoted text: the conversions tell ClickHouse what they are (a number
-- behind LIMIT needs none).

-- name: get_profit_summary
-- db: ledger
-- results: reports
-- description: What one user earned and spent, a row for each year and kind of entry.
-- params: user_id
SELECT
	toYear(entry_date) AS year,
	kind,
	currency,
	count() AS entries,
	sumIf(amount, amount > 0) AS earned,
	sumIf(-amount, amount < 0) AS spent,
	sum(amount) AS profit
FROM entries
WHERE user_id = toInt64(?)
GROUP BY year, kind, currency
ORDER BY year, kind, currency;

-- name: get_profit_entries
-- db: ledger
-- results: reports
-- description: All entries of one user, the newest first.
-- params: user_id
SELECT id, entry_date, created_at, kind, amount, currency, balance, memo
FROM entries
WHERE user_id = toInt64(?)
ORDER BY created_at DESC, id DESC;

-- name: get_profit_entries_by_date
-- db: ledger
-- results: reports
-- description: The entries of one user between two dates, both of them included.
-- params: user_id, from_date, to_date
SELECT id, entry_date, created_at, kind, amount, currency, balance, memo
FROM entries
WHERE user_id = toInt64(?)
	AND entry_date BETWEEN toDate(?) AND toDate(?)
ORDER BY entry_date, id;

-- name: top_users
-- db: ledger
-- results: reports
-- queue: reports
-- description: The users with the highest balance.
-- params: how_many
-- timeout: 5m
-- Reads every entry, so it belongs in the queue for heavy reports.
SELECT id, name, email, country, entries, balance, last_entry
FROM (
	SELECT
		user_id AS id,
		count() AS entries,
		sum(amount) AS balance,
		max(created_at) AS last_entry
	FROM entries
	GROUP BY user_id
) AS e
ANY INNER JOIN users USING (id)
ORDER BY balance DESC, id
LIMIT ?;

-- name: ledger_export
-- db: ledger
-- results: reports
-- queue: reports
-- description: Every entry of the ledger; a large result, streamed from database to database.
-- timeout: 30m
-- ttl: 2h
SELECT id, user_id, entry_date, created_at, amount, kind, memo, flagged
FROM entries;

-- name: slow_report
-- db: ledger
-- results: reports
-- description: Sleeps for so many seconds inside the database,
-- description: so that you can watch a running job and cancel it.
-- params: seconds
-- A second for each row of a block of its own: ClickHouse sleeps no longer than three seconds for a block.
SELECT count() AS seconds, now() AS began_at
FROM (SELECT sleepEachRow(1) AS slept FROM system.numbers LIMIT ?) AS s
WHERE slept = 0
SETTINGS max_block_size = 1;
