-- Tasks whose source or results database `far` is behind a wire that the test can cut.

-- name: fault_far
-- db: far
-- results: reports
-- description: As fault_label, through a wire that the test can cut.
-- params: n, label, gate
SELECT i AS n, $2::text AS label, CASE WHEN i = 1 AND $3::bigint <> 0 THEN pg_advisory_xact_lock_shared($3::bigint)::text END AS held
FROM generate_series(1::bigint, $1::bigint) AS i;

-- name: fault_to_far
-- db: ledger
-- results: far
-- description: The results server is behind the wire.
-- params: n, label, gate
SELECT i AS n, $2::text AS label, CASE WHEN i = 1 AND $3::bigint <> 0 THEN pg_advisory_xact_lock_shared($3::bigint)::text END AS held
FROM generate_series(1::bigint, $1::bigint) AS i;
