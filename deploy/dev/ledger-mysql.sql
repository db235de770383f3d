-- The generated ledger for MariaDB, the same rows as ledger.sql. engines.py puts numbers in the places of :entries and :users, and
-- the expression of ledger.sql in those of pick(row, salt, below).

SET time_zone = '+00:00', unique_checks = 0, foreign_key_checks = 0;
-- The entries are sorted in memory.
SET sort_buffer_size = 256 << 20, tmp_memory_table_size = 1 << 30, max_heap_table_size = 1 << 30;

CREATE TABLE users (
	id         BIGINT NOT NULL PRIMARY KEY,
	name       VARCHAR(64) NOT NULL,
	email      VARCHAR(255) NOT NULL,
	country    CHAR(2) NOT NULL,
	created_at TIMESTAMP NOT NULL
);

INSERT INTO users
SELECT
	seq,
	concat(elt(1 + pick(seq, 1, 10), 'Ada', 'Bilal', 'Chen', 'Divya', 'Émile', 'Fatou', 'Grace', 'Hiro', 'Inés', 'Jonas'), ' ',
		elt(1 + pick(seq, 2, 10), 'Abebe', 'Berg', 'Costa', 'Dubois', 'Evans', 'Fischer', 'Gupta', 'Hansen', 'Ivanov', 'Jansen')),
	concat('user', seq, '@example.com'),
	elt(1 + pick(seq, 3, 10), 'BR', 'DE', 'FR', 'GB', 'IN', 'JP', 'KE', 'NO', 'US', 'ZA'),
	TIMESTAMP '2020-01-01 00:00:00' + INTERVAL pick(seq, 4, 31536000) SECOND
FROM seq_1_to_:users;

CREATE TABLE entries (
	id         BIGINT NOT NULL PRIMARY KEY,
	user_id    BIGINT NOT NULL,
	entry_date DATE NOT NULL,
	created_at TIMESTAMP NOT NULL,
	amount     DECIMAL(18,4) NOT NULL,
	currency   CHAR(3) NOT NULL,
	kind       VARCHAR(16) NOT NULL,
	memo       VARCHAR(64), -- NULL for one in eight
	balance    DECIMAL(18,4) NOT NULL, -- of the user after this entry
	flagged    BOOLEAN NOT NULL
);

-- Entries come in the order of time, spread over the years 2021 to 2024, and go to the users in turn.
INSERT INTO entries
SELECT
	i,
	user_id,
	date(at),
	at,
	amount,
	'EUR',
	kind,
	if(pick(i, 6, 8) > 0, concat(kind, ' no. ', i), NULL),
	sum(amount) OVER (PARTITION BY user_id ORDER BY i),
	pick(i, 7, 100) = 0
FROM (
	SELECT
		seq AS i,
		1 + (seq - 1) % :users AS user_id,
		TIMESTAMP '2021-01-01 00:00:00' + INTERVAL (seq * (86400 * 1461) DIV (:entries + 1)) SECOND AS at,
		if(pick(seq, 8, 8) < 4, 0.0001, -0.0001) * pick(seq, 5, 10000000) AS amount,
		elt(1 + pick(seq, 8, 8), 'deposit', 'interest', 'refund', 'dividend', 'withdrawal', 'purchase', 'fee', 'transfer') AS kind
	FROM seq_1_to_:entries
) AS e;

ALTER TABLE entries ADD INDEX entries_by_user (user_id, entry_date);
ANALYZE TABLE users, entries;
