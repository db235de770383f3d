-- Sample tasks: the reports of ../ledger.sql in the dialect of MySQL and MariaDB, for the ledger that `make up DB=mysql` generates.
-- A job's arguments are bound to the question marks as text; the database turns them into numbers and dates where it compares.

-- name: get_profit_summary
-- db: ledger
-- results: reports
-- description: What one user earned and spent, a row for each year and kind of entry.
-- params: user_id
SELECT
	year(entry_date) AS year,
	kind,
	currency,
	count(*) AS entries,
	CAST(sum(if(amount > 0, amount, 0)) AS DECIMAL(28,4)) AS earned,
	CAST(sum(if(amount < 0, -amount, 0)) AS DECIMAL(28,4)) AS spent,
	CAST(sum(amount) AS DECIMAL(28,4)) AS profit
FROM entries
WHERE user_id = ?
GROUP BY year(entry_date), kind, currency
ORDER BY year(entry_date), kind, currency;

-- name: get_profit_entries
-- db: ledger
-- results: reports
-- description: All entries of one user, the newest first.
-- params: user_id
SELECT id, entry_date, created_at, kind, amount, currency, balance, memo
FROM entries
WHERE user_id = ?
ORDER BY created_at DESC, id DESC;

-- name: get_profit_entries_by_date
-- db: ledger
-- results: reports
-- description: The entries of one user between two dates, both of them included.
-- params: user_id, from_date, to_date
SELECT id, entry_date, created_at, kind, amount, currency, balance, memo
FROM entries
WHERE user_id = ?
	AND entry_date BETWEEN ? AND ?
ORDER BY entry_date, id;

-- name: top_users
-- db: ledger
-- results: reports
-- queue: reports
-- description: The users with the highest balance.
-- params: how_many
-- timeout: 5m
-- Reads every entry, so it belongs in the queue for heavy reports.
SELECT u.id, u.name, u.email, u.country, e.entries, e.balance, e.last_entry
FROM (
	SELECT
		user_id,
		count(*) AS entries,
		CAST(sum(amount) AS DECIMAL(28,4)) AS balance,
		max(created_at) AS last_entry
	FROM entries
	GROUP BY user_id
) AS e
JOIN users AS u ON u.id = e.user_id
ORDER BY e.balance DESC, u.id
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
SELECT now(6) AS began_at, sleep(?) AS interrupted, sysdate(6) AS ended_at;
