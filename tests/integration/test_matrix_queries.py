"""The matrix, queries: values of all sizes, results of all shapes, arguments, errors, from each source to each results database."""

from __future__ import annotations

import pytest
from matrix_support import COLUMNS, DATABASE, MatrixStack, is_binary, same_form
from matrix_types import ALL_BYTES, ODD_TEXT, WORLD_TEXT, Type

TEXT = {"postgres": "text", "mysql": "LONGTEXT", "clickhouse18": "String", "clickhouse26": "String"}
BYTES = {**TEXT, "postgres": "bytea", "mysql": "LONGBLOB"}
BIG = ["", "x" * (1 << 20), None, WORLD_TEXT * 10_000, "\\\t\n\r\b'\"" * 50_000, " "]
EACH_BYTE = [*(bytes([i]) for i in range(256)), ALL_BYTES, ALL_BYTES[::-1] * 300, b"", None]

# What would do harm, or vanish, if an argument were taken for SQL.
NASTY = [
    "'; DROP TABLE matrix_canary; --", "\\'; DROP TABLE matrix_canary; --", "' OR '1'='1", "x' UNION SELECT 'y", "'||(SELECT 1)||'",
    "\\", "\\\\", "'", "''", "\"", "`", "\\'", "a\\nb", "\\x00", "\\N", "NULL", "?", "? ? ?", "$1", "$$", "$a$'; --$a$", "{x:String}", ":x", "%s", "%27",
    "/* ", "*/", "-- ", "#", ";", "tab\there", "line\nfeed\r\n", "", " ", "1; SELECT sleep(9)", "\u00bf'; --", "\u02bc OR 1=1", "😀'", ODD_TEXT,
    WORLD_TEXT, "0x27", "a" * 5000 + "'",
]


def one_column(kind):
    return [("value", Type(kind, "", "", ()))]


@pytest.fixture(scope="module", autouse=True)
def filled(matrix: MatrixStack) -> None:
    for name, source in matrix.all_sources.items():
        source.make_table("matrix_big", one_column(TEXT[name]), [[value] for value in BIG])
        source.make_table("matrix_bytes", one_column(BYTES[name]), [[value] for value in EACH_BYTE])
        source.make_table("matrix_texts", one_column(TEXT[name]), [[value] for value in NASTY])
        source.make_table("matrix_canary", one_column(TEXT[name]), [["alive"]])
        source.server.load_ledger(DATABASE, 1000)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.group("values")
def test_nulls_and_texts_from_nothing_to_a_megabyte_come_back(pair):
    job_id = pair.run("big")
    assert [row[1] for row in pair.results.rows(job_id)] == BIG


@pytest.mark.group("values")
def test_every_byte_comes_back_where_the_type_is_binary(pair):
    """ClickHouse's String may hold anything and becomes TEXT: what is no text makes the job fail, and nothing is cut or changed."""
    if pair.source.is_clickhouse:
        error = pair.fail("bytes").lower()
        assert "utf" in error or "character" in error or "string value" in error or "nul byte" in error, error
        return
    job_id = pair.run("bytes")
    assert is_binary(pair.results.columns(job_id)[1][1])
    assert [row[1] for row in pair.results.rows(job_id)] == EACH_BYTE


@pytest.mark.group("shapes")
def test_a_result_without_rows_has_its_columns(pair):
    job_id = pair.run("nothing")
    assert pair.stack.job(job_id)["count"] == 0
    assert [name for name, _ in pair.results.columns(job_id)] == ["id", "value"]
    assert pair.results.rows(job_id) == []


@pytest.mark.group("shapes")
def test_two_hundred_columns(pair):
    job_id = pair.run("wide")
    assert [name for name, _ in pair.results.columns(job_id)] == [f"c{i}" for i in range(COLUMNS)]
    assert pair.results.rows(job_id, "c0") == [[str(row + i) for i in range(COLUMNS)] for row in range(1, len(BIG) + 1)]


@pytest.mark.group("shapes")
def test_names_that_are_the_same_are_made_unique_and_odd_ones_stay(pair):
    job_id = pair.run("twins")
    names = [name for name, _ in pair.results.columns(job_id)]
    (row,) = pair.results.rows(job_id, names[0])
    want = ["1", "three", "4", "5", "6"] if pair.source.is_clickhouse else ["1", "2", "three", "4", "5", "6"]
    assert row == want
    assert (names[0], names[-2:]) == ("x", ["Größe €", "a b`c"])
    assert len({name.lower() if pair.results.name == "mysql" else name for name in names}) == len(want)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.group("errors")
def test_a_wrong_query_is_a_failure_that_says_what_is_wrong(pair):
    assert "no_such_column" in pair.fail("broken")
    assert "matrix_nowhere" in pair.fail("no_table")


@pytest.mark.group("errors")
def test_an_argument_that_is_no_number_is_what_the_source_says_of_it(pair):
    """PostgreSQL and ClickHouse refuse it; for MySQL a text equals no number."""
    if pair.source.name == "mysql":
        assert pair.results.count(pair.run("by_id", "abc")) == 0
    else:
        assert "abc" in pair.fail("by_id", "abc")
    assert [row[0] for row in pair.results.rows(pair.run("by_id", "2"))] == ["2"]


@pytest.mark.group("errors")
def test_a_wrong_number_of_arguments_is_a_failure(pair):
    assert "takes 2 arguments, got 1" in pair.fail("echo", "one")


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.group("arguments")
def test_arguments_come_back_as_data_whatever_they_look_like(pair):
    jobs = [pair.submit("echo", text, text[::-1]) for text in NASTY]
    for job_id, text in zip(jobs, NASTY):
        assert pair.wait(job_id)["state"] == "SUCCESS", (text, pair.stack.job(job_id)["error"])
        assert pair.results.rows(job_id, "a") == [[text, text[::-1]]]
    assert pair.source.run("SELECT value FROM matrix_canary") == "alive"


@pytest.mark.group("arguments")
def test_arguments_are_compared_as_data(pair):
    """Each finds the row that holds it, and no other."""
    for i, text in enumerate(NASTY, 1):
        if pair.source.name == "mysql" and text.strip() == "":
            continue  # for MySQL these are the same
        assert pair.results.rows(pair.run("by_text", text)) == [[str(i)]], text


@pytest.mark.group("arguments")
def test_an_argument_may_be_null(pair):
    assert pair.results.rows(pair.run("echo", None, "x"), "b") == [[None, "x"]]
    if pair.source.name == "clickhouse18":
        return  # this server cannot look for NULL in a primary key (code 169)
    assert pair.results.count(pair.run("by_id", None)) == 0


# ---------------------------------------------------------------------------------------------------------------------

SAMPLES = [("get_profit_summary", ["3"]), ("get_profit_entries", ["7"]), ("get_profit_entries_by_date", ["7", "2022-01-01", "2023-06-30"]),
           ("top_users", ["5"]), ("ledger_export", [])]


@pytest.mark.group("samples")
@pytest.mark.parametrize(("task", "args"), SAMPLES, ids=[name for name, _ in SAMPLES])
def test_the_samples_give_the_same_rows_in_every_dialect(matrix, pair, task, args):
    def rows(of):
        job_id = of.run(task, *args)
        columns = of.results.columns(job_id)
        forms = ["timestamp" if kind.startswith(("timestamp", "datetime")) else kind for _, kind in columns]
        return [name for name, _ in columns], sorted(tuple(map(same_form, forms, row)) for row in of.results.rows(job_id, columns[0][0]))

    assert rows(pair) == rows(matrix.pair("postgres", "postgres"))
