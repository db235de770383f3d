-- Tasks of the several-hosts test: the label and the number of rows come from the arguments, so the right rows are known.

-- name: hosts_quick
-- db: pg
-- results: reports
-- params: label, n
SELECT i AS n, $1::text AS label FROM generate_series(1::bigint, $2::bigint) AS i;

-- name: hosts_slow
-- db: pg
-- results: reports
-- params: label, n, seconds
SELECT i AS n, $1::text AS label
FROM (SELECT pg_sleep($3::double precision)) AS pause, generate_series(1::bigint, $2::bigint) AS i;

-- name: hosts_trickle
-- db: pg
-- results: my_reports
-- description: Rows come all the time.
-- params: label, n, seconds
SELECT i AS n, $1::text AS label, pg_sleep($3::double precision / $2::bigint)::text AS pause
FROM generate_series(1::bigint, $2::bigint) AS i;

-- name: hosts_my_quick
-- db: my
-- results: reports
-- params: label, n
SELECT seq AS n, ? AS label FROM seq_1_to_100000 WHERE seq <= ?;

-- name: hosts_my_slow
-- db: my
-- results: my_reports
-- params: label, n, seconds
SELECT seq AS n, ? AS label FROM seq_1_to_100000 WHERE seq <= ? AND (seq > 1 OR SLEEP(?) >= 0);

-- name: hosts_ch_quick
-- db: ch
-- results: reports
-- params: label, n
SELECT number + 1 AS n, ? AS label FROM numbers(100000) WHERE number < toUInt64(?);

-- name: hosts_ch_slow
-- db: ch
-- results: my_reports
-- params: label, n, seconds
SELECT number + 1 AS n, ? AS label FROM numbers(100000) WHERE number < toUInt64(?) AND sleep(toFloat64(?)) = 0;
