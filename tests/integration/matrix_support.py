"""What the matrix tests stand on: every source engine and every results engine, with one worker stack that knows them all.

A query differs from engine to engine, so the tasks are written from the table QUERIES, each once for every pair: its name is
<query>_<source>_<results>.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matrix_types import Type, Value
from support import (
    ROOT,
    SAMPLES,
    SLOW,
    ClickHouse,
    ClickHouseNew,
    LiveStack,
    MariaDB,
    PostgresServer,
    StackError,
    deep_merge,
    find_program,
    uid,
    wait_until,
)

SOURCES = ("postgres", "mysql", "clickhouse18", "clickhouse26")
RESULTS = ("postgres", "mysql")
DATABASE = "matrix"  # of every source
QUICK = {"innodb_flush_log_at_trx_commit": 0, "innodb_doublewrite": 0}  # for a MariaDB whose machine does not crash
STREAM_ROWS = 200_000  # of the query `stream`, which then takes its time to end
COLUMNS = 200  # of the query `wide`
VERSION_ROWS = (3_000, 5_000)  # of the query `version` for the arguments '0' and '1'

# By name and source, with the same arguments in each; {rows} and the like as in str.format.
QUERIES: dict[str, dict[str, str]] = {
    "types": dict.fromkeys(SOURCES, "SELECT * FROM matrix_types"),
    "random": dict.fromkeys(SOURCES, "SELECT * FROM matrix_random"),
    "big": dict.fromkeys(SOURCES, "SELECT id, value FROM matrix_big"),
    "bytes": dict.fromkeys(SOURCES, "SELECT id, value FROM matrix_bytes"),
    "nothing": dict.fromkeys(SOURCES, "SELECT id, value FROM matrix_big WHERE id > 1000"),
    "broken": dict.fromkeys(SOURCES, "SELECT id, no_such_column FROM matrix_big"),
    "no_table": dict.fromkeys(SOURCES, "SELECT * FROM matrix_nowhere"),
    "wide": dict.fromkeys(SOURCES, "SELECT " + ", ".join(f"id + {i} AS c{i}" for i in range(COLUMNS)) + " FROM matrix_big"),
    "twins": {
        "postgres": "SELECT 1 AS x, 2 AS x, 'three' AS \"X\", 4 AS x_2, 5 AS \"Größe €\", 6 AS \"a b`c\"",
        "mysql": "SELECT 1 AS x, 2 AS x, 'three' AS X, 4 AS x_2, 5 AS `Größe €`, 6 AS `a b``c`",
        **dict.fromkeys(SOURCES[2:], "SELECT 1 AS x, 'three' AS X, 4 AS x_2, 5 AS `Größe €`, 6 AS `a b\\`c`"),
    },
    "echo": {
        "postgres": "SELECT $1::text AS a, $2::text AS b",
        "mysql": "SELECT ? AS a, ? AS b",
        **dict.fromkeys(SOURCES[2:], "SELECT ? AS a, ? AS b"),
    },
    "by_id": {
        "postgres": "SELECT id FROM matrix_big WHERE id = $1::bigint",
        "mysql": "SELECT id FROM matrix_big WHERE id = ?",
        **dict.fromkeys(SOURCES[2:], "SELECT id FROM matrix_big WHERE id = toInt64(?)"),
    },
    "by_text": {
        "postgres": "SELECT id FROM matrix_texts WHERE value = $1",
        **dict.fromkeys(SOURCES[1:], "SELECT id FROM matrix_texts WHERE value = ?"),
    },
    # Rows, and then a second without any.
    "stream": {
        "postgres": "SELECT i AS n, 'matrix_stream ' || i AS value FROM generate_series(1, {rows}) AS i"
        " UNION ALL SELECT 0, pg_sleep(1)::text",
        "mysql": "SELECT seq AS n, concat('matrix_stream ', seq) AS value FROM seq_1_to_{rows} UNION ALL SELECT 0, sleep(1)",
        **dict.fromkeys(SOURCES[2:], "SELECT toInt64(number + 1) AS n, concat('matrix_stream ', toString(number + 1)) AS value"
                        " FROM numbers({rows}) UNION ALL SELECT toInt64(0), toString(sleep(1))"),
    },
    "endless": {
        "postgres": "SELECT i AS n, 'matrix_endless' || i AS value FROM (SELECT generate_series(1, 1000000000) AS i) AS s",
        "mysql": "SELECT seq AS n, concat('matrix_endless', seq) AS value FROM seq_1_to_1000000000",
        **dict.fromkeys(SOURCES[2:], "SELECT number AS n, concat('matrix_endless', toString(number)) AS value FROM system.numbers"),
    },
    # No row for a long time.
    "thinking": {
        "postgres": "SELECT count(*) AS matrix_thinking FROM (SELECT generate_series(1, 1000000000)) AS s",
        "mysql": "SELECT count(*) AS matrix_thinking FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b",
        **dict.fromkeys(SOURCES[2:], "SELECT count() AS matrix_thinking FROM system.numbers"),
    },
    "version": {
        "postgres": "SELECT i AS n, 'version ' || $1 AS label FROM generate_series(1, (CASE WHEN $1 = '1' THEN {more} ELSE {less} END)) AS i",
        "mysql": "SELECT seq AS n, concat('version ', v) AS label FROM seq_1_to_{more}, (SELECT ? AS v) AS a WHERE v = '1' OR seq <= {less}",
        **dict.fromkeys(SOURCES[2:], "SELECT number + 1 AS n, concat('version ', v) AS label FROM (SELECT number, ? AS v FROM numbers({more}))"
                        " WHERE v = '1' OR number < {less}"),
    },
}


def write_tasks(file: Path) -> None:
    """Those of QUERIES, and the samples."""
    less, more = VERSION_ROWS
    tasks = []
    for source in SOURCES:
        samples = (ROOT / SAMPLES["clickhouse" if source.startswith("clickhouse") else source] / "ledger.sql").read_text()
        for results in RESULTS:
            tags = f"_{source}_{results}\n-- db: {source}\n-- results: {results}\n"
            tasks += [f"-- name: {query}{tags}{sql[source].format(rows=STREAM_ROWS, less=less, more=more)};\n"
                      for query, sql in QUERIES.items()]
            tasks.append(re.sub(r"(?m)^(-- name: \w+)\n-- db: .*\n-- results: .*\n(-- queue: .*\n)?", rf"\1{tags}", samples))
    file.write_text("\n".join(tasks))


# ---------------------------------------------------------------------------------------------------------------------
# Sources


class Source:
    """A source's server, in its own dialect."""

    def __init__(self, name: str, server: PostgresServer | MariaDB | ClickHouse) -> None:
        self.name = name
        self.server = server
        self.is_clickhouse = server.ENGINE == "clickhouse"

    def run(self, sql: str, data: bytes = b"") -> str:
        """Runs one statement; data: what follows its text, for ClickHouse."""
        if self.server.ENGINE == "postgres":
            return self.server.psql_text(DATABASE, sql)
        if self.server.ENGINE == "mysql":
            return self.server.sql("SET sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00';" + sql, DATABASE)
        return self.server.query(sql, DATABASE, data=data)

    def kill(self) -> None:
        kill(self.server)

    def literal(self, kind: str, value: Value) -> str:
        """For INSERT; not for ClickHouse."""
        if value is None:
            return "NULL"
        if isinstance(value, bytes):
            if self.name == "postgres":
                return "'\\x" + value.hex() + "'"
            return f"ST_GeomFromWKB(X'{value[4:].hex()}')" if kind == "POINT" else f"X'{value.hex()}'"
        if self.name == "postgres":
            if kind.startswith("timestamp") and kind.endswith("with time zone") and value[0].isdigit():
                value += "+00"
            return "'" + value.replace("'", "''") + "'"
        if kind.startswith("BIT"):
            return f"b'{value}'"
        for raw, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\r", "\\r"), ("\n", "\\n"), ("\0", "\\0")):
            value = value.replace(raw, escaped)
        return f"'{value}'"

    def make_table(self, name: str, columns: Sequence[tuple[str, Type]], rows: Sequence[Sequence[Value]]) -> None:
        """(Re)makes a table with a column `id` from 1 on and these."""
        self.run(f"DROP TABLE IF EXISTS {name}")
        if self.is_clickhouse:
            self._make_clickhouse_table(name, columns, rows)
            return
        listed = ", ".join(f"{column} {kind.name}" for column, kind in columns)
        self.run(f"CREATE TABLE {name} (id BIGINT, {listed})")
        values = [", ".join([str(i), *(self.literal(kind.name, value) for (_, kind), value in zip(columns, row))])
                  for i, row in enumerate(rows, 1)]
        self.run(f"INSERT INTO {name} VALUES " + ",\n".join(f"({row})" for row in values))

    def _make_clickhouse_table(self, name: str, columns: Sequence[tuple[str, Type]], rows: Sequence[Sequence[Value]]) -> None:
        """Floating-point numbers go in as their bits: the old server does not read all digits."""
        listed = ", ".join(f"{column} " + (f"Nullable({kind.name})" if kind.nullable else kind.name) for column, kind in columns)
        self.run(f"CREATE TABLE {name} (id Int64, {listed}) ENGINE = MergeTree ORDER BY id")
        self.run("DROP TABLE IF EXISTS matrix_raw")
        raw = {column: "Nullable(String)" if kind.name in FLOATS else f"Nullable({kind.name})" if kind.nullable else kind.name
               for column, kind in columns}
        self.run(f"CREATE TABLE matrix_raw (id Int64, {', '.join(map(' '.join, raw.items()))}) ENGINE = Memory")
        lines = b"".join(b"\t".join([b"%d" % i, *(_tsv(kind.name, value) for (_, kind), value in zip(columns, row))]) + b"\n"
                         for i, row in enumerate(rows, 1))
        self.run("INSERT INTO matrix_raw FORMAT TabSeparated", lines)
        cooked = ", ".join(f"if(isNull({column}), NULL, reinterpretAs{kind.name}(unhex(assumeNotNull({column}))))"
                           if kind.name in FLOATS else column for column, kind in columns)
        self.run(f"INSERT INTO {name} SELECT id, {cooked} FROM matrix_raw")

    def running(self, marker: str) -> int:
        """How many queries with that in their text run."""
        pattern = f"concat('%', '{marker[:-1]}', '{marker[-1]}', '%')"  # so that this query is not one of them
        if self.server.ENGINE == "postgres":
            return int(self.server.psql(DATABASE, f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE {pattern}"))
        if self.server.ENGINE == "mysql":
            return int(self.server.sql("SELECT count(*) FROM information_schema.processlist WHERE command <> 'Sleep'"
                                       f" AND info LIKE {pattern}"))
        return int(self.server.query(f"SELECT count() FROM system.processes WHERE query LIKE {pattern}"))


FLOATS = {"Float32": "<f", "Float64": "<d"}


def _tsv(kind: str, value: Value) -> bytes:
    if value is None:
        return b"\\N"
    if kind in FLOATS:
        return struct.pack(FLOATS[kind], float(value)).hex().encode()
    data = value.encode() if isinstance(value, str) else value
    for raw, escaped in ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\0", b"\\0")):
        data = data.replace(raw, escaped)
    return data


def kill(server: PostgresServer | MariaDB | ClickHouse) -> None:
    """As in a crash; all its processes are gone then."""
    if isinstance(server, PostgresServer):  # it would leave its sessions' processes behind
        server.stop("immediate")
    else:
        server.kill()


# ---------------------------------------------------------------------------------------------------------------------
# Results


class Results:
    """A results database: its tables as the tests look at them. Values are texts in one form for both engines (see show), bytes
    for binary types, None for NULL."""

    def __init__(self, name: str, server: PostgresServer | MariaDB, database: str) -> None:
        self.name = name
        self.server = server
        self.database = database

    def query(self, sql: str) -> list[list[Value]]:
        """The rows of a query whose columns are all of a text in hexadecimal digits, or NULL."""
        if self.server.ENGINE == "postgres":
            text = self.server.psql(self.database, sql)
            rows = [line.split("|") for line in text.split("\n")] if text else []
        else:
            text = self.server.sql("SET time_zone = '+00:00', sql_mode = 'NO_ENGINE_SUBSTITUTION';" + sql, self.database)
            rows = [line.split("\t") for line in text.split("\n")] if text else []
        return [[None if cell == "N" else bytes.fromhex(cell[1:]) for cell in row] for row in rows]

    def columns(self, job_id: str) -> list[tuple[str, str]]:
        """(name, declared type)"""
        if self.server.ENGINE == "postgres":
            sql = (f"SELECT {_pg_text('attname::text')}, {_pg_text('format_type(atttypid, atttypmod)')} FROM pg_attribute"
                   f" WHERE attrelid = to_regclass('\"results_{job_id}\"') AND attnum > 0 AND NOT attisdropped ORDER BY attnum")
        else:
            sql = (f"SELECT {_my_text('column_name')}, {_my_text('column_type')} FROM information_schema.columns"
                   f" WHERE table_schema = DATABASE() AND table_name = 'results_{job_id}' ORDER BY ordinal_position")
        return [(_str(name), _str(kind)) for name, kind in self.query(sql)]

    def rows(self, job_id: str, order: str = "id") -> list[list[Value]]:
        columns = self.columns(job_id)
        assert columns, f"no table results_{job_id}"
        if self.server.ENGINE == "postgres":
            listed = ", ".join(_pg_show(f'"{name}"', kind) for name, kind in columns)
            found = self.query(f'SET timezone = \'UTC\'; SET extra_float_digits = 3; SELECT {listed} FROM "results_{job_id}" ORDER BY "{order}"')
        else:
            quoted = [(name.replace("`", "``"), kind) for name, kind in columns]
            listed = ", ".join(_my_show(f"`{name}`", kind) for name, kind in quoted)
            found = self.query(f"SELECT {listed} FROM `results_{job_id}` ORDER BY `{order}`")
        return [[cell if cell is None or is_binary(kind) else _str(cell) for cell, (_, kind) in zip(row, columns)] for row in found]

    def count(self, job_id: str) -> int:
        return self._number(job_id, "count(*)")

    def sum(self, job_id: str, column: str) -> int:
        return self._number(job_id, f"sum({column})")

    def _number(self, job_id: str, expression: str) -> int:
        text = _pg_text(f"({expression})::text") if self.server.ENGINE == "postgres" else _my_text(expression)
        return int(_str(self.query(f"SELECT {text} FROM {self.quoted('results_' + job_id)}")[0][0]))

    def quoted(self, name: str) -> str:
        return f'"{name}"' if self.server.ENGINE == "postgres" else f"`{name}`"

    def tables(self) -> set[str]:
        """All tables but those that DungBeetle keeps there for good."""
        if self.server.ENGINE == "postgres":
            names = self.server.psql(self.database, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        else:
            names = self.server.sql("SHOW TABLES", self.database)
        return {name for name in names.split("\n") if name.startswith(("results_", "dungbeetle_staging", "dungbeetle_trash"))}

    def has_table(self, job_id: str) -> bool:
        return f"results_{job_id}" in self.tables()

    def loading(self) -> bool:
        """Do rows of a large result arrive?"""
        if self.server.ENGINE == "postgres":
            return self.server.psql(self.database, "SELECT count(*) FROM pg_stat_progress_copy WHERE tuples_processed > 0") != "0"
        sql = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE concat('LOAD', ' DATA%')"
        return self.server.sql(sql) != "0"

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Who takes the rows of a large result does nothing any more, as on a host whose disk hangs; the connections stand."""
        if self.server.ENGINE == "postgres":
            pid = int(self.server.psql(self.database, "SELECT pid FROM pg_stat_progress_copy"))
        else:
            pid = self.server.program.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def waiting(self, job_id: str) -> bool:
        """Does a statement wait for a lock on the job's result?"""
        if self.server.ENGINE == "postgres":
            sql = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass('\"results_{job_id}\"')"
            return self.server.psql(self.database, sql) != "0"
        return self.server.sql("SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock'") != "0"

    def client(self) -> "Client":
        return Client(self)


class Client:
    """A session that is kept, for readers that look all the time: each statement has one row."""

    def __init__(self, results: Results) -> None:
        if results.server.ENGINE == "postgres":
            words = [find_program("psql"), "-AtqX", "-F", "\t", "-d", results.server.socket_url(results.database)]
        else:
            words = ["mariadb", "--no-defaults", "-u", "root", "-S", str(results.server.socket), "-N", "-B", "-f", "--unbuffered", results.database]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def tell(self, sql: str) -> None:
        """For statements without an answer."""
        assert self._process.stdin
        self._process.stdin.write(sql + ";\n")
        self._process.stdin.flush()

    def ask(self, sql: str) -> str:
        """The row of the answer, columns parted by tabs; or the error."""
        self.tell(sql)
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def close(self) -> None:
        self._process.communicate()


def _str(cell: Value) -> str:
    assert isinstance(cell, bytes)
    return cell.decode()


def _pg_text(expression: str) -> str:
    return f"CASE WHEN {expression} IS NULL THEN 'N' ELSE '=' || encode(convert_to({expression}, 'UTF8'), 'hex') END"


def _my_text(expression: str) -> str:
    return f"IF({expression} IS NULL, 'N', CONCAT('=', HEX(CAST({expression} AS CHAR CHARACTER SET utf8mb4))))"


def is_binary(kind: str) -> bool:
    return kind == "bytea" or "binary" in kind or "blob" in kind


def _pg_show(name: str, kind: str) -> str:
    if kind == "bytea":
        return f"CASE WHEN {name} IS NULL THEN 'N' ELSE '=' || encode({name}, 'hex') END"
    if kind == "boolean":
        return _pg_text(f"{name}::int::text")
    if kind.startswith("timestamp") and kind.endswith("with time zone") and "[" not in kind:
        return _pg_text(f"({name} AT TIME ZONE 'UTC')::text")
    # Unlike a cast to text, concat takes what the type's output function says.
    return f"CASE WHEN {name} IS NULL THEN 'N' ELSE '=' || encode(convert_to(concat({name}), 'UTF8'), 'hex') END"


def _my_show(name: str, kind: str) -> str:
    if is_binary(kind):
        return f"IF({name} IS NULL, 'N', CONCAT('=', HEX({name})))"
    if kind.startswith("bit"):
        return _my_text(f"LPAD(BIN({name} + 0), {kind[4:-1]}, '0')")
    return _my_text(f"CAST({name} AS DOUBLE)" if kind == "float" else name)


def same_form(kind: str, value: Value) -> Any:
    """A value as it can be compared, for a result column of this type: floating-point numbers by their bits, times without the
    zeros at the end of their fractions."""
    if not isinstance(value, str):
        return value
    if kind in ("real", "float"):
        return struct.pack(">f", float(value))
    if kind in ("double precision", "double"):
        return struct.pack(">d", float(value))
    if kind.startswith(("time", "datetime", "interval")) and "[" not in kind and "." in value:
        number, space, tail = value.partition(" BC")
        return number.rstrip("0").rstrip(".") + space + tail
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The stack


class MatrixStack(LiveStack):
    """A stack whose worker knows each source and each results engine by its name (SOURCES, RESULTS). PostgreSQL and MariaDB are
    source and results database at once, or, split, have a server for each."""

    def __init__(self, directory: Any, *, split: bool = False, **options: Any) -> None:
        self.tasks_dir = Path(directory) / "tasks"
        self.tasks_dir.mkdir(parents=True)
        write_tasks(self.tasks_dir / "matrix.sql")
        options = {"sql_directories": [self.tasks_dir], "queues": {"default": 6}, "load": 0, "two_servers": split, **options}
        super().__init__(directory, **options)
        self.mariadb = self.mariadb_results = MariaDB(self.dir / "mariadb", **QUICK)
        if split:
            self.mariadb_results = MariaDB(self.dir / "mariadb-results", **QUICK)
        self.clickhouses = {"clickhouse18": ClickHouse(self.dir / "clickhouse"), "clickhouse26": ClickHouseNew(self.dir / "clickhouse-new")}
        self.no_clickhouse26: StackError | None = None
        self.engines: list[MariaDB | ClickHouse] = list({self.mariadb, self.mariadb_results, *self.clickhouses.values()})
        self.config = deep_merge(self.config, {
            "sources": {
                "postgres": {"type": "postgres", "dsn": self.pg_source.url(DATABASE)},
                "mysql": {"type": "mysql", "dsn": self.mariadb.dsn(DATABASE)},
                **{name: {"type": "clickhouse", "dsn": server.url(DATABASE)} for name, server in self.clickhouses.items()},
            },
            "results": {
                "postgres": {"type": "postgres", "dsn": self.pg_results.url(self._dbs["reports"])},
                "mysql": {"type": "mysql", "dsn": self.mariadb_results.dsn("reports")},
            },
        })

    def start_servers(self) -> None:
        super().start_servers()
        for server in self.engines:
            try:
                server.start()
            except StackError as error:
                if not isinstance(server, ClickHouseNew):
                    raise
                self.no_clickhouse26 = error  # its tests fail with that, the others go on
        for source in self.all_sources.values():
            if not source.server.has_db(DATABASE):
                source.server.createdb(DATABASE)
        self.mariadb_results.createdb("reports")

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            for server in self.engines:
                server.stop()

    @functools.cached_property
    def all_sources(self) -> dict[str, Source]:
        """Those that have started."""
        servers = {"postgres": self.pg_source, "mysql": self.mariadb, **self.clickhouses}
        return {name: Source(name, server) for name, server in servers.items() if name != "clickhouse26" or not self.no_clickhouse26}

    @functools.cached_property
    def all_results(self) -> dict[str, Results]:
        return {"postgres": Results("postgres", self.pg_results, self._dbs["reports"]), "mysql": Results("mysql", self.mariadb_results, "reports")}

    def pair(self, source: str, results: str) -> "Pair":
        if source == "clickhouse26" and self.no_clickhouse26:
            raise self.no_clickhouse26
        return Pair(self, self.all_sources[source], self.all_results[results])


class Pair:
    """One source, one results database."""

    def __init__(self, stack: MatrixStack, source: Source, results: Results) -> None:
        self.stack = stack
        self.source = source
        self.results = results

    def task(self, query: str) -> str:
        return f"{query}_{self.source.name}_{self.results.name}"

    def submit(self, query: str, *args: Any, **fields: Any) -> str:
        return self.stack.submit(self.task(query), *args, **{"job_id": uid("m"), **fields})

    def wait(self, job_id: str, timeout: float = 30.0) -> dict[str, Any]:
        return self.stack.wait(job_id, timeout)

    def run(self, query: str, *args: Any, **fields: Any) -> str:
        """Of a job that must succeed; its id."""
        job = self.wait(self.submit(query, *args, **fields))
        assert job["state"] == "SUCCESS", job["error"]
        return str(job["job_id"])

    def fail(self, query: str, *args: Any, **fields: Any) -> str:
        """Of a job that must fail, and leave nothing; its error."""
        job = self.wait(self.submit(query, *args, **fields))
        assert job["state"] == "FAILURE", job
        assert job["error"]
        self.assert_nothing(str(job["job_id"]))
        return str(job["error"])

    def assert_nothing(self, job_id: str) -> None:
        """Of the job nothing is in the results database."""
        assert not self.results.has_table(job_id)
        wait_until(lambda: not [name for name in self.results.tables() if not name.startswith("results_")], 5 * SLOW, "an end of the staging tables")

    def await_gone(self, marker: str, within: float = 1.0) -> None:
        wait_until(lambda: self.source.running(marker) == 0, within * SLOW, f"the end of the query {marker} in the source")
