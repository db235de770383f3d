"""Rows of another engine in PostgreSQL: what it does not take, and rows of every size."""

import datetime as dt
import decimal

import pytest
from support import HERE, QUERIES

from stack import MariaDB

TEXTS = """
CREATE TABLE texts (id INT, name VARCHAR(40), note TEXT);
INSERT INTO texts VALUES (1, 'fine', '\\\\N'), (2, '€😀', '\\\\.'), (3, NULL, ''), (4, 'a\\0b', 'fine'), (5, 'fine', X'61EDA08062');
SET check_constraint_checks = 0;
CREATE TABLE documents (id INT, j JSON);
INSERT INTO documents VALUES (1, '{}'), (2, '{secret}');
"""


@pytest.fixture(scope="module")
def own(make_module_stack, stack, tmp_path_factory):
    maria = MariaDB(tmp_path_factory.mktemp("maria"), innodb_flush_log_at_trx_commit=0)
    maria.start()
    try:
        maria.createdb("shop")
        maria.sql(TEXTS, "shop")
        yield make_module_stack(
            pg=stack.pg_source, queues={"default": 2}, sql_directories=[QUERIES, HERE / "queries_foreign"],
            config={"sources": {"maria": {"type": "mysql", "dsn": maria.dsn("shop")}}})
    finally:
        maria.stop()


def test_texts_that_look_like_copy_are_texts(own):
    """What means NULL or the end to COPY."""
    assert own.rows(own.succeed("foreign_texts", 3)) == [(1, "fine", "\\N"), (2, "€😀", "\\."), (3, None, "")]


@pytest.mark.parametrize(("last", "error"), [
    (4, "column 'name', row 4: the text has a NUL byte, which PostgreSQL cannot hold"),
    (5, "column 'name', row 4: the text has a NUL byte, which PostgreSQL cannot hold"),
])
def test_a_nul_byte_is_a_failure_that_names_the_column(own, last, error):
    job = own.fail("foreign_texts", last)
    assert error in job["error"]
    assert own.columns(job["job_id"]) == []


def test_invalid_utf8_is_a_failure_that_names_the_column(own):
    """MariaDB keeps half a surrogate pair as a character."""
    job = own.fail("foreign_invalid")
    assert "column 'note', row 1: the text is not valid UTF-8, which PostgreSQL cannot hold" in job["error"]
    assert own.columns(job["job_id"]) == []


def test_what_the_server_refuses_is_told_with_its_column(own):
    """MariaDB keeps a broken document when it is told not to look."""
    job = own.fail("foreign_refused")
    assert "invalid input syntax for type json (SQLSTATE 22P02), line 2, column j" in job["error"]
    assert own.columns(job["job_id"]) == []


@pytest.mark.parametrize("n", [0, 1, 100, 3000, 40_000])
def test_rows_of_every_size_arrive_whole(own, n):
    """Short rows beside some of a megabyte, every escape in them, on both sides of what is written in one piece."""
    text, data = "a\\b\tc\nd\re€", b"\x00\xff\\\n\t"
    rows = own.rows(own.succeed("foreign_long", n, n))
    assert rows == [(i, text * (i % 3 * n), data * (i % 2 * n), None) for i in range(1, 31)]


def test_a_small_result_has_no_toast_table(own):
    """Its rows fit a page, so it is made like a template whose columns are not stored apart, whichever engine they are from."""
    job_id = own.succeed("foreign_small")
    assert own.columns(job_id, "relaxed") == [("id", "integer"), ("t", "character varying(5)"), ("b", "bytea"), ("d", "interval(1)"),
                                              ("n", "numeric(10,2)")]
    assert own.rows(job_id, db="relaxed") == [
        (1, "x", b"\x00\xff", -dt.timedelta(hours=838, minutes=59, seconds=59, microseconds=500000), decimal.Decimal("1.50"))]
    assert own.query("SELECT reltoastrelid FROM pg_class WHERE relname = %s", f"results_{job_id}", db="relaxed") == [(0,)]
