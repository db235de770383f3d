-- Tasks on the MariaDB of test_mysql_source.py.

-- name: my_kinds
-- db: maria
-- results: reports
SELECT * FROM kinds ORDER BY id;

-- name: my_kinds_raw
-- db: maria
-- results: reports
-- raw: true
SELECT * FROM kinds ORDER BY id;

-- name: my_echo
-- db: maria
-- results: reports
SELECT ? AS a, ? AS b, ? IS NULL AS is_null;

-- name: my_find
-- db: maria
-- results: reports
SELECT id FROM finds WHERE big = ? AND amount = ? AND name = ? AND day <= ? LIMIT ?;

-- name: my_changing
-- db: maria
-- results: reports
SELECT * FROM changing;

-- name: my_long
-- db: maria
-- results: reports
SELECT 1 AS id, REPEAT('é', ?) AS t, REPEAT(UNHEX('00FF'), ?) AS b UNION ALL SELECT 2, 'short', 'short' ORDER BY id;

-- name: my_wide
-- db: maria
-- results: reports
SELECT seq AS id, CONCAT('row ', seq) AS name, seq / 4 AS quarter FROM seq_1_to_200000;

-- name: my_none
-- db: maria
-- results: reports
SELECT 1 AS one FROM kinds WHERE id < 0;

-- name: my_drip
-- db: maria
-- results: reports
SELECT seq AS id, REPEAT('x', 1000) AS filler, SLEEP(0.002) AS z FROM seq_1_to_1000000;

-- name: my_sleep
-- db: maria
-- results: reports
SELECT SLEEP(?) AS slept, CONNECTION_ID() AS id FROM seq_1_to_2;

-- name: my_sleep_limited
-- db: maria
-- results: reports
-- timeout: 1
SELECT SLEEP(?) AS slept, CONNECTION_ID() AS id FROM seq_1_to_2;

-- name: my_late
-- db: maria
-- results: reports
SELECT seq AS id, REPEAT('x', 100) AS filler, IF(seq < 50000, 1, (SELECT 1 FROM seq_1_to_2)) AS bad FROM seq_1_to_60000;

-- name: my_session
-- db: maria
-- results: reports
SELECT CONNECTION_ID() AS id, @@tx_read_only AS read_only, @@time_zone AS zone, @@max_statement_time AS time_limit,
	@dungbeetle AS whose, @@character_set_results AS charset, @@sql_mode AS mode, @@net_write_timeout AS patience;

-- name: my_call
-- db: maria
-- results: reports
-- raw: true
CALL one_result();

-- name: my_call_prepared
-- db: maria
-- results: reports
CALL one_result_of(?);

-- name: my_call_two
-- db: maria
-- results: reports
-- raw: true
CALL two_results();

-- name: my_call_two_prepared
-- db: maria
-- results: reports
CALL two_results_of(?);

-- name: my_write
-- db: maria
-- results: reports
-- raw: true
INSERT INTO finds VALUES (99, 1, 1, 'x', NOW());

-- name: my_nothing
-- db: maria
-- results: reports
DO 1;

-- name: my_broken
-- db: maria
-- results: reports
SELECT nothing_of_the_kind FROM kinds;

-- name: my_cipher
-- db: secured, by_ca, unverified, preferring, by_url, by_socket, plain_preferring
-- results: reports
SELECT VARIABLE_VALUE AS cipher, CONNECTION_ID() AS id FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER';

-- name: my_refused
-- db: distrusted, misnamed, plain_unverified, plain_verified, unknown_user, unknown_db, silent, malformed
-- results: reports
SELECT 1 AS one;
