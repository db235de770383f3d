-- The generated ledger for ClickHouse, the same rows as ledger.sql. engines.py puts numbers in the places of :entries and :users,
-- the expression of ledger.sql in those of pick(row, salt, below), and sends one statement after the other.

CREATE TABLE users (
	id         Int64,
	name       String,
	email      String,
	country    FixedString(2),
	created_at DateTime
) ENGINE = MergeTree ORDER BY id;

INSERT INTO users
SELECT
	number + 1 AS i,
	concat(['Ada', 'Bilal', 'Chen', 'Divya', 'Émile', 'Fatou', 'Grace', 'Hiro', 'Inés', 'Jonas'][1 + pick(i, 1, 10)], ' ',
		['Abebe', 'Berg', 'Costa', 'Dubois', 'Evans', 'Fischer', 'Gupta', 'Hansen', 'Ivanov', 'Jansen'][1 + pick(i, 2, 10)]),
	concat('user', toString(i), '@example.com'),
	['BR', 'DE', 'FR', 'GB', 'IN', 'JP', 'KE', 'NO', 'US', 'ZA'][1 + pick(i, 3, 10)],
	toDateTime('2020-01-01 00:00:00') + pick(i, 4, 31536000)
FROM numbers(:users);

CREATE TABLE entries (
	id         Int64,
	user_id    Int64,
	entry_date Date,
	created_at DateTime,
	amount     Decimal(18,4),
	currency   FixedString(3),
	kind       String,
	memo       Nullable(String), -- NULL for one in eight
	balance    Decimal(18,4), -- of the user after this entry
	flagged    UInt8
) ENGINE = MergeTree ORDER BY (user_id, id);

-- Entries come in the order of time, spread over the years 2021 to 2024, and go to the users in turn. The old versions have no
-- window functions: a user's entries are put into an array, of amounts in ten-thousandths, and taken out again.
INSERT INTO entries
SELECT
	i,
	user_id,
	toDate(at),
	at,
	toDecimal64(cents, 0) * toDecimal64('0.0001', 4),
	'EUR',
	kind,
	if(pick(i, 6, 8) > 0, concat(kind, ' no. ', toString(i)), NULL),
	toDecimal64(total, 0) * toDecimal64('0.0001', 4),
	pick(i, 7, 100) = 0
FROM (
	SELECT
		user_id,
		i,
		total,
		if(pick(i, 8, 8) < 4, 1, -1) * toInt64(pick(i, 5, 10000000)) AS cents,
		toDateTime('2021-01-01 00:00:00') + intDiv(i * (86400 * 1461), :entries + 1) AS at,
		['deposit', 'interest', 'refund', 'dividend', 'withdrawal', 'purchase', 'fee', 'transfer'][1 + pick(i, 8, 8)] AS kind
	FROM (
		SELECT
			1 + user AS user_id,
			arrayMap(n -> toInt64(1 + user + n * :users), range(toUInt64(count()))) AS ids,
			arrayCumSum(arrayMap(i -> if(pick(i, 8, 8) < 4, 1, -1) * toInt64(pick(i, 5, 10000000)), ids)) AS totals
		FROM (SELECT number % :users AS user FROM numbers(:entries))
		GROUP BY user
	)
	ARRAY JOIN ids AS i, totals AS total
);
