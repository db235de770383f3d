"""The laboratory's tasks, and what the rows of a result must be.

The two sources hold the same ledger, so a report has the same rows whichever it was read from and wherever it was written to;
`label` is the argument by which one POST is told from every other one. lab_<source>_<results>: the entries of a user, `times`
times, after some seconds of pause. broken_<source>_<results>: fails for good when it has sent 2,000 rows.
"""

from __future__ import annotations

from pathlib import Path

SOURCES = ("pg", "my")
RESULTS = ("rpg", "rmy")
USERS = 20
ENTRIES = 100 * USERS

_ROWS = {
    "pg": "SELECT e.id, e.entry_date, e.created_at, e.amount, e.memo, e.balance, t, $4::text AS label"
    " FROM (SELECT pg_sleep($3::double precision)) AS pause, generate_series(1, $2::integer) AS t, entries AS e WHERE e.user_id = $1::bigint",
    "my": "SELECT e.id, e.entry_date, e.created_at, e.amount, e.memo, e.balance, s.seq AS t, p.label"
    " FROM (SELECT ? AS user_id, ? AS times, SLEEP(?) AS slept, ? AS label LIMIT 1) AS p"
    " JOIN seq_1_to_1000 AS s ON s.seq <= p.times JOIN entries AS e ON e.user_id = p.user_id",
}
_BROKEN = {
    "pg": "SELECT i, 1 / (2000 - i) AS bad, $1::text AS label FROM generate_series(1, 3000) AS i",
    "my": "SELECT s.seq AS i, (SELECT b.seq FROM seq_1_to_2 AS b WHERE b.seq <= IF(s.seq > 2000, 2, 1)) AS bad, ? AS label FROM seq_1_to_3000 AS s",
}

# One number for all rows, whatever their order; alike in both engines.
PG_CHECK = (
    "SELECT count(*), coalesce(sum(('x' || substr(md5(concat_ws('|', id, entry_date,"
    " to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), amount, coalesce(memo, '-'), balance, t)), 1, 12))::bit(48)::bigint), 0)"
)
MY_CHECK = (
    "SELECT COUNT(*), COALESCE(SUM(CAST(CONV(SUBSTR(MD5(CONCAT_WS('|', id, entry_date,"
    " DATE_FORMAT(created_at, '%Y-%m-%d %H:%i:%s'), amount, COALESCE(memo, '-'), balance, t)), 1, 12), 16, 10) AS UNSIGNED)), 0)"
)


def expected_query(user: int, times: int) -> str:
    """For the PostgreSQL source: (rows, checksum) of the report."""
    return f"{PG_CHECK} FROM entries, generate_series(1, {times}) AS t WHERE user_id = {user}"


def found_query(results: str, table: str) -> str:
    """For a results database: (rows, checksum, least label, greatest label) of a result table."""
    if results == "rpg":
        return f"{PG_CHECK}, min(label), max(label) FROM \"{table}\""
    return f"{MY_CHECK}, MIN(label), MAX(label) FROM `{table}`"


def write_tasks(file: Path) -> None:
    tasks = []
    for source in SOURCES:
        for results in RESULTS:
            tags = f"_{source}_{results}\n-- db: {source}\n-- results: {results}\n"
            tasks += [f"-- name: lab{tags}{_ROWS[source]};\n", f"-- name: broken{tags}{_BROKEN[source]};\n"]
    file.write_text("\n".join(tasks))
