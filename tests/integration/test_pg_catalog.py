"""The table of shared/db/pg_types.c is what the running server's catalog says."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "shared/db/pg_types.c"
ROW = re.compile(r'\{(\w+), (\d+), "((?:\\.|[^"\\])*)", "([^"]*)", ([A-Z]+), (true|false), KIND_\w+\},')
TEXT_OID = 25


class Row(NamedTuple):
    oid: int
    array_oid: int
    declaration: str
    form: str
    varlena: bool


def table():
    text = SOURCE.read_text()
    body = text[text.index("types[] = {"):text.index("};", text.index("types[] = {"))]
    rows = [Row(TEXT_OID if oid == "PG_TEXT_OID" else int(oid), int(array), name.replace('\\"', '"') + tail, form, varlena == "true")
            for oid, array, name, tail, form, varlena in ROW.findall(body)]
    assert len(rows) == body.count("{") - 1, "a row that this test cannot read"
    return rows


ROWS = table()


@pytest.fixture(scope="module")
def catalog(stack):
    """oid -> (typarray, typlen, has a typmod, has a binary form, kind)"""
    return {row[0]: row[1:] for row in stack.query(
        "SELECT oid::bigint, typarray::bigint, typlen, typmodin <> 0, typsend <> 0 AND typreceive <> 0, typtype::text"
        " FROM pg_type", db="ledger")}


def test_every_oid_is_that_of_the_server(catalog):
    assert {row.oid: row.array_oid for row in ROWS} == {row.oid: catalog[row.oid][0] for row in ROWS}


def test_every_type_has_a_binary_form_and_is_no_composite_or_enum(catalog):
    assert [row for row in ROWS if not catalog[row.oid][3] or catalog[row.oid][4] not in "brm"] == []


def test_long_values_are_possible_where_the_table_says_so(catalog):
    assert [row for row in ROWS if row.varlena != (catalog[row.oid][1] == -1)] == []


def test_types_with_modifiers_are_those_that_the_table_reads_them_of(catalog):
    assert [row for row in ROWS if (row.form != "PLAIN") != catalog[row.oid][2]] == []


def test_every_declaration_means_its_type_of_any_length(stack):
    columns = [(row.oid, row.declaration) for row in ROWS] + [(row.array_oid, row.declaration + "[]") for row in ROWS]
    with stack.db("reports") as connection:
        declared = ", ".join(f"c{i} {declaration}" for i, (_, declaration) in enumerate(columns))
        connection.execute(f"CREATE TEMPORARY TABLE catalog_check ({declared})")
        found = connection.execute("SELECT atttypid::bigint, atttypmod, format_type(atttypid, atttypmod) FROM pg_attribute"
                                   " WHERE attrelid = 'catalog_check'::regclass AND attnum > 0 ORDER BY attnum").fetchall()
        wanted = connection.execute("SELECT t, -1, format_type(t::oid, -1) FROM unnest(%s::bigint[]) WITH ORDINALITY AS u(t, n)"
                                    " ORDER BY n", ([oid for oid, _ in columns],)).fetchall()
    assert found == wanted


def test_types_that_are_not_in_the_table_are_left_out_on_purpose(stack):
    """Their values are of one server, or nobody keeps them in a table: they travel as text."""
    found = {name for (name,) in stack.query(
        "SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')"
        " AND typelem = 0 AND typsend <> 0 AND NOT oid::bigint = ANY(%s)", [row.oid for row in ROWS], db="ledger")}
    assert sorted(name for name in found if not name.startswith("reg")) == [
        "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list", "pg_ndistinct",
        "pg_node_tree", "pg_snapshot", "txid_snapshot"]
