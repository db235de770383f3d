"""Exact values: what the source returned is what the result table holds, type by type."""

import pytest
from psycopg import sql
from support import table_name


def declared(stack, table):
    """(name, exact type) of the columns of a table of the source."""
    return stack.query(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
        db="ledger",
    )


def texts(stack, relation, columns, db):
    """Every value as the server writes it, so that NaN, -0 and infinity count too; the rows in one order."""
    listed = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    return stack.query(sql.SQL("SELECT {} FROM {} ORDER BY row_id NULLS LAST").format(listed, relation), db=db)


def assert_same(stack, job_id, db="reports", more=0, table="test_types"):
    source = declared(stack, table)
    result = stack.columns(job_id, db)
    assert result[: len(result) - more] == source
    names = [name for name, _ in source]
    want = texts(stack, sql.Identifier(table), names, "ledger")
    found = texts(stack, table_name(job_id), names, db)
    assert len(found) == len(want) == 4
    for want_row, found_row in zip(want, found):
        assert dict(zip(names, found_row)) == dict(zip(names, want_row))


FORMS = pytest.mark.parametrize("types", ["types", "binary_types"])  # text form; binary form


@FORMS
def test_every_built_in_type_is_copied_exactly(stack, types):
    assert_same(stack, stack.succeed(types), table=f"test_{types}")


@FORMS
def test_every_built_in_type_is_exact_with_arguments_too(stack, types):
    assert_same(stack, stack.succeed(f"{types}_args", "x"), table=f"test_{types}")


@FORMS
def test_every_built_in_type_is_exact_in_a_relaxed_results_database(stack, types):
    assert_same(stack, stack.succeed(f"{types}_relaxed"), db="relaxed", table=f"test_{types}")


def test_a_query_that_searches_for_nothing_is_copied(stack):
    """PostgreSQL 15.18 writes an empty tsquery in a binary form that it does not read."""
    job_id = stack.succeed("searches")
    assert stack.columns(job_id) == [("one", "tsquery"), ("several", "tsquery[]")]
    assert stack.query(sql.SQL("SELECT one::text, several::text FROM {}").format(table_name(job_id))) == [("", "{\"\",'a'}")]


@pytest.mark.parametrize("source", ["ledger", "odd"])
def test_every_built_in_type_is_exact_in_a_raw_task(stack, source):
    """Text form; also from a server whose settings write dates, intervals, floats and bytes in other ways."""
    assert_same(stack, stack.succeed("types_raw", db=source))


@pytest.mark.parametrize("source", ["ledger", "odd"])
def test_every_built_in_type_is_exact_beside_a_column_that_must_be_text(stack, source):
    job_id = stack.succeed("types_beside_foreign", db=source)
    assert_same(stack, job_id, more=1)
    assert stack.columns(job_id)[-1] == ("pair", "text")


@pytest.mark.parametrize("source", ["ledger", "odd"])
def test_types_that_a_results_server_may_not_have_become_text(stack, source):
    """Enums, composites, their arrays, and types whose values mean something only on their own server."""
    job_id = stack.succeed("foreign_types", db=source)
    source_types = dict(declared(stack, "test_foreign_types"))
    names = list(source_types)
    types = dict(stack.columns(job_id))
    assert list(types) == names
    for name in ("mood", "moods", "pair", "pairs", "class", "positives", "anything"):
        assert types[name] == "text"
    for name in ("lsn", "item", "snapshot"):  # built in, but of no use elsewhere: exact or text
        assert types[name] in ("text", source_types[name])
    want = [dict(zip(names, row)) for row in texts(stack, sql.Identifier("test_foreign_types"), names, "ledger")]
    found = [dict(zip(names, row)) for row in texts(stack, table_name(job_id), names, "reports")]
    for row in want + found:
        row.pop("anything")  # holds times and bytes: its text follows the session's settings
    assert found == want


@pytest.mark.parametrize(("task", "args"), [("moods", []), ("moods_args", [9])])
def test_an_enum_becomes_text_with_its_label(stack, task, args):
    job_id = stack.succeed(task, *args)
    assert stack.columns(job_id) == [("row_id", "integer"), ("mood", "text")]
    assert stack.rows(job_id) == [(1, "sad"), (2, "happy"), (3, None)]


def test_a_domain_becomes_the_type_below_it(stack):
    job_id = stack.succeed("domains")
    assert stack.columns(job_id) == [("row_id", "integer"), ("positive", "numeric(12,3)"), ("code", "character varying(8)")]
    assert [[str(value) for value in row] for row in stack.rows(job_id)] == [["1", "123456789.125", "abcdefgh"], ["2", "None", ""]]


def test_an_interval_of_some_fields_becomes_one_that_holds_the_same(stack):
    job_id = stack.succeed("partial_interval")
    assert [kind.startswith("interval") for _, kind in stack.columns(job_id)] == [True, True]
    assert stack.query(sql.SQL("SELECT ym::text, ds::text FROM {}").format(table_name(job_id))) == [("1 year 2 mons", "1 day 02:03:04")]


def test_untyped_literals_and_arguments_are_text(stack):
    job_id = stack.succeed("untyped", "an argument")
    assert stack.columns(job_id) == [("nothing", "text"), ("literal", "text"), ("argument", "text")]
    assert stack.rows(job_id) == [(None, "text", "an argument")]


def test_the_ledger_is_copied_exactly_by_every_path(stack):
    """COPY, prepared statement and raw: the same columns, the same rows."""
    jobs = [stack.succeed("plain"), stack.succeed("plain_args", 0), stack.succeed("plain_raw", 0)]
    types = declared(stack, "entries")
    for job_id in jobs:
        assert stack.columns(job_id) == types
        assert stack.count(job_id) == 2000
    source = stack.query("SELECT e::text FROM entries e ORDER BY id", db="ledger")
    for job_id in jobs:
        assert stack.query(sql.SQL("SELECT e::text FROM {} e ORDER BY id").format(table_name(job_id))) == source
