-- Tasks on the MariaDB of test_results_foreign.py.

-- name: foreign_texts
-- db: maria
-- results: reports
SELECT id, name, note FROM texts WHERE id <= ? ORDER BY id;

-- name: foreign_long
-- db: maria
-- results: reports
SELECT seq AS id, REPEAT('a\\b\tc\nd\re€', seq % 3 * ? ) AS t, REPEAT(X'00FF5C0A09', seq % 2 * ?) AS b, CAST(NULL AS CHAR(5)) AS n
FROM seq_1_to_30;

-- name: foreign_small
-- db: maria
-- results: relaxed
SELECT 1 AS id, CAST('x' AS CHAR(5)) AS t, X'00FF' AS b, TIME'-838:59:59.5' AS d, CAST(1.5 AS DECIMAL(10,2)) AS n;

-- name: foreign_invalid
-- db: maria
-- results: reports
SELECT id, name, note FROM texts WHERE id = 5;

-- name: foreign_refused
-- db: maria
-- results: reports
SELECT id, CASE id WHEN 2 THEN TIME'10:00:00' END AS t, j FROM documents ORDER BY id;
