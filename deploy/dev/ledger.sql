-- The generated ledger of the development stack and the tests: the same rows every time (no random()), and the same in every
-- engine (ledger-mysql.sql, ledger-clickhouse.sql). Loaded by servers.py as: psql -v entries=1000000 -v users=10000 -f ledger.sql
-- Numbers that look random come from pick(row, salt, below): remainders by primes, which all engines compute alike in 64 bits.

SET client_min_messages = warning;
BEGIN;

CREATE FUNCTION pg_temp.pick(i bigint, salt bigint, below bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (i * 48271 + salt * 1234567891) % 2147483647 * 1103515245 % 2147483629 * 1812433253 % 2147483587 % below;

CREATE TABLE users (
	id         bigint NOT NULL,
	name       text NOT NULL,
	email      text NOT NULL,
	country    char(2) NOT NULL,
	created_at timestamptz NOT NULL
);

INSERT INTO users
SELECT
	i,
	(ARRAY['Ada', 'Bilal', 'Chen', 'Divya', 'Émile', 'Fatou', 'Grace', 'Hiro', 'Inés', 'Jonas'])[1 + pg_temp.pick(i, 1, 10)]
		|| ' ' || (ARRAY['Abebe', 'Berg', 'Costa', 'Dubois', 'Evans', 'Fischer', 'Gupta', 'Hansen', 'Ivanov', 'Jansen'])[1 + pg_temp.pick(i, 2, 10)],
	'user' || i || '@example.com',
	(ARRAY['BR', 'DE', 'FR', 'GB', 'IN', 'JP', 'KE', 'NO', 'US', 'ZA'])[1 + pg_temp.pick(i, 3, 10)],
	timestamptz '2020-01-01 00:00:00+00' + make_interval(secs => pg_temp.pick(i, 4, 86400 * 365))
FROM generate_series(1, :users) AS i;

CREATE TABLE entries (
	id         bigint NOT NULL,
	user_id    bigint NOT NULL,
	entry_date date NOT NULL,
	created_at timestamptz NOT NULL,
	amount     numeric(18,4) NOT NULL,
	currency   char(3) NOT NULL,
	kind       text NOT NULL,
	memo       text, -- NULL for one in eight
	balance    numeric(18,4) NOT NULL, -- of the user after this entry
	flagged    boolean NOT NULL
);

-- Entries come in the order of time, spread over the years 2021 to 2024, and go to the users in turn.
INSERT INTO entries
SELECT
	i,
	user_id,
	(at AT TIME ZONE 'UTC')::date,
	at,
	amount,
	'EUR',
	kind,
	CASE WHEN pg_temp.pick(i, 6, 8) > 0 THEN kind || ' no. ' || i END,
	sum(amount) OVER (PARTITION BY user_id ORDER BY i),
	pg_temp.pick(i, 7, 100) = 0
FROM (
	SELECT
		i,
		1 + (i - 1) % :users AS user_id,
		timestamptz '2021-01-01 00:00:00+00' + make_interval(secs => i * (86400 * 1461) / (:entries + 1)) AS at,
		(CASE WHEN k <= 4 THEN 1 ELSE -1 END * pg_temp.pick(i, 5, 10000000) / 10000.0)::numeric(18,4) AS amount,
		(ARRAY['deposit', 'interest', 'refund', 'dividend', 'withdrawal', 'purchase', 'fee', 'transfer'])[k] AS kind
	FROM (SELECT i, 1 + pg_temp.pick(i, 8, 8) AS k FROM generate_series(1::bigint, :entries) AS i) AS numbered
) AS e;

ALTER TABLE users ADD PRIMARY KEY (id);
ALTER TABLE entries ADD PRIMARY KEY (id);
CREATE INDEX entries_by_user ON entries (user_id, entry_date);
COMMIT;

VACUUM (ANALYZE) users, entries;
