"""The matrix, types: every column type of every source, with its extremes, in each results database; and random typed rows."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from matrix_support import MatrixStack, Pair, Source, same_form
from matrix_types import TYPES, Type, Value


def fill_types(source: Source) -> None:
    """matrix_types: a column for each type, as many rows as the type with the most values has, and one of NULLs."""
    kinds = TYPES[source.name]
    if source.name == "postgres":
        source.run("DROP TABLE IF EXISTS matrix_types; DROP DOMAIN IF EXISTS matrix_code; DROP TYPE IF EXISTS matrix_mood, matrix_pair;"
                   "CREATE TYPE matrix_mood AS ENUM ('sad', 'it''s \\ \"odd\"'); CREATE TYPE matrix_pair AS (a integer, b text);"
                   "CREATE DOMAIN matrix_code AS varchar(8)")
    columns = [(f"c{i}", kind) for i, kind in enumerate(kinds)]
    source.make_table("matrix_types", columns, list(zip(*table_of(kinds))))


def table_of(kinds: tuple[Type, ...]) -> list[list[Value]]:
    """The values of each column."""
    length = max(len(kind.values) for kind in kinds) + 1
    return [[*kind.values, *[None if kind.nullable else kind.values[0]] * (length - len(kind.values))] for kind in kinds]


@pytest.fixture(scope="module")
def types_filled(matrix: MatrixStack) -> None:
    for source in matrix.all_sources.values():
        fill_types(source)


@pytest.mark.group("types")
def test_every_type_is_declared_as_the_table_of_types_says(types_filled, pair):
    job_id = pair.run("types")
    found = [kind for name, kind in pair.results.columns(job_id)][1:]
    kinds = TYPES[pair.source.name]
    assert list(zip([kind.name for kind in kinds], found)) == [(kind.name, kind.declared(pair.results.name)) for kind in kinds]


@pytest.mark.group("types")
def test_every_value_of_every_type_comes_back(types_filled, pair):
    job_id = pair.run("types")
    declared = [kind for _, kind in pair.results.columns(job_id)][1:]
    found = list(zip(*(row[1:] for row in pair.results.rows(job_id))))
    wrong = []
    for kind, result, values, came in zip(TYPES[pair.source.name], declared, table_of(TYPES[pair.source.name]), found, strict=True):
        for value, got in zip(values, came, strict=True):
            want = kind.expected(pair.results.name, value)
            if same_form(result, got) != same_form(result, want):
                wrong.append(f"{kind.name} → {result}: {value!r:.100} should be {want!r:.100} and is {got!r:.100}")
    assert not wrong, "\n" + "\n".join(wrong)


# ---------------------------------------------------------------------------------------------------------------------
# Random rows

CHARACTERS = "".join(map(chr, [*range(1, 0x180), 0x2028, 0xFEFF, 0xFFFD, 0x1F600, 0x10FFFF])) + "\\\\\\\t\t\n\n\r''\"\"NN"


def _text(rng: random.Random, most: int = 60) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.randrange(most)))


def _integer(low: int, high: int) -> Callable[[random.Random], str]:
    return lambda rng: str(rng.choice((low, high, 0, rng.randint(low, high), rng.randint(max(low, -100), 100))))


def _decimal(precision: int, scale: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        digits = str(rng.randrange(10 ** rng.randint(1, precision))).rjust(scale + 1, "0")
        sign = "-" if rng.random() < 0.5 and digits.strip("0") else ""
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
    return make


def _double(rng: random.Random) -> str:
    while True:
        number = struct.unpack(">d", rng.randbytes(8))[0]
        if abs(number) < 1e308 and (number == 0 or abs(number) > 1e-300):
            return repr(number)


def _moment(digits: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        fraction = f".{rng.randrange(10 ** digits):0{digits}}".rstrip("0").rstrip(".") if digits else ""
        return f"{rng.randint(1971, 2037)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {clock}{fraction}"
    return make


def _date(rng: random.Random) -> str:
    return _moment(0)(rng)[:10]


def _bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(80))


RANDOM: dict[str, list[tuple[str, Callable[[random.Random], Value]]]] = {
    "postgres": [
        ("smallint", _integer(-2**15, 2**15 - 1)), ("integer", _integer(-2**31, 2**31 - 1)), ("bigint", _integer(-2**63, 2**63 - 1)),
        ("numeric(18,4)", _decimal(18, 4)), ("numeric(50,20)", _decimal(50, 20)), ("double precision", _double), ("text", _text),
        ("varchar(60)", _text), ("bytea", _bytes), ("date", _date), ("timestamp", _moment(6)), ("timestamp(3)", _moment(3)),
        ("boolean", lambda rng: rng.choice("01"))],
    "mysql": [
        ("TINYINT", _integer(-128, 127)), ("INT UNSIGNED", _integer(0, 2**32 - 1)), ("BIGINT", _integer(-2**63, 2**63 - 1)),
        ("BIGINT UNSIGNED", _integer(0, 2**64 - 1)), ("DECIMAL(18,4)", _decimal(18, 4)), ("DECIMAL(50,20)", _decimal(50, 20)),
        ("DOUBLE", _double), ("TEXT", _text), ("VARCHAR(60)", _text), ("VARBINARY(80)", _bytes), ("BLOB", _bytes), ("DATE", _date),
        ("DATETIME(6)", _moment(6)), ("TIMESTAMP(3) NULL", _moment(3))],
    "clickhouse18": [
        ("Int8", _integer(-128, 127)), ("Int32", _integer(-2**31, 2**31 - 1)), ("Int64", _integer(-2**63, 2**63 - 1)),
        ("UInt64", _integer(0, 2**64 - 1)), ("Decimal(18,4)", _decimal(18, 4)), ("Decimal(38,10)", _decimal(38, 10)), ("Float64", _double),
        ("String", _text), ("Date", _date), ("DateTime", _moment(0))],
}
RANDOM["clickhouse26"] = [*RANDOM["clickhouse18"], ("DateTime64(6)", _moment(6))]
ROWS, ROUNDS = 150, 3


@pytest.mark.group("random rows")
def test_random_typed_rows_come_back_equal(pair, request):
    """Columns and values by chance; the seed is told."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        chosen = [rng.choice(RANDOM[pair.source.name]) for _ in range(rng.randint(1, 12))]
        columns = [(f"c{i}", Type(name, "", "", ())) for i, (name, _) in enumerate(chosen)]
        rows = [[None if rng.random() < 0.1 else make(rng) for _, make in chosen] for _ in range(rng.choice((1, 10, ROWS)))]
        pair.source.make_table("matrix_random", columns, rows)
        job_id = pair.run("random")
        declared = [kind for _, kind in pair.results.columns(job_id)][1:]
        found = [row[1:] for row in pair.results.rows(job_id)]
        assert [list(map(same_form, declared, row)) for row in found] == [list(map(same_form, declared, row)) for row in rows]
