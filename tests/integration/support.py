"""What the integration tests share beside their fixtures: a stack with short helpers, and checks after its end."""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "dev"))

from stack import (  # noqa: E402, F401  (for the tests)
    ClickHouse,
    ClickHouseNew,
    SAMPLES,
    MariaDB,
    PostgresServer,
    Program,
    Stack,
    StackError,
    deep_merge,
    find_program,
    free_port,
    to_yaml,
    wait_until,
)

BIN_DIR = os.environ.get("BIN_DIR", "bin")  # the flavour: bin, build/asan/bin or build/tsan/bin
SANITIZED = "asan" in BIN_DIR or "tsan" in BIN_DIR
SLOW = 4 if SANITIZED else 1  # by how much a wait may be longer then
QUERIES = HERE / "queries"
SOURCE_SQL = HERE / "source.sql"
ZERO_TIME = "0001-01-01T00:00:00Z"
STATES = {"PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE"}

_numbers = itertools.count(1)
_session = uuid.uuid4().hex[:6]


def uid(name: str = "job") -> str:
    """An id that no other test of this or of another session uses."""
    return f"{name}-{_session}-{next(_numbers)}"


@dataclass
class Answer:
    """A response of the API whose envelope has been checked."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


def check_envelope(status: int, body: Any, headers: Mapping[str, str]) -> Answer:
    """Every response is JSON in the envelope of api.md: an error is a status other than 200 with a message."""
    assert headers.get("content-type") == "application/json; charset=utf-8", (status, headers, body)
    assert isinstance(body, dict), body
    if status == 200:
        assert body["status"] == "success", body
        assert "data" in body, body
    else:
        assert body["status"] == "error", body
        assert body["data"] is None, body
        assert isinstance(body["message"], str), body
        assert body["message"], body
    return Answer(status, body, dict(headers))


class _Borrowed:
    """Another stack's PostgreSQL: used, never started or stopped."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def start(self) -> _Borrowed:
        return self

    def stop(self, mode: str = "fast") -> None:
        pass


class LiveStack(Stack):
    """A private stack with helpers.

    pg: PostgreSQL of another stack to be used instead of an own one (much quicker); the results then go to a database
    of their own on it. Otherwise the options are those of Stack. The source database also holds source.sql.
    Results databases: reports (durability full), relaxed and unlogged; three databases of one server.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        pg: PostgresServer | None = None,
        config: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        self._redis: redis.Redis | None = None
        self._dbs = {name: name for name in ("reports", "relaxed", "unlogged")}
        if pg:
            suffix = uuid.uuid4().hex[:8]
            self._dbs = {name: f"{name}_{suffix}" for name in self._dbs}
        options = {
            "bin_dir": BIN_DIR,
            "load": 2_000,
            "queues": {"default": 4, "reports": 2},
            "sql_directories": ["queries", QUERIES],
            **options,
        }
        if not options.get("two_servers"):
            options["postgres"] = {
                "fsync": "off",
                "full_page_writes": "off",
                "max_wal_size": "64MB",
                "shared_buffers": "64MB",
                **(options.get("postgres") or {}),
            }
        super().__init__(directory, config=None, **options)
        if pg:
            self.source = self.results = _Borrowed(pg)  # type: ignore[assignment]
        self.config = deep_merge(self.config, self._databases())
        self.config = deep_merge(self.config, {"worker": {"retry_base": "100ms", "retry_max": "1s"}})
        self.config = deep_merge(self.config, config or {})

    def _databases(self) -> dict[str, Any]:
        more: dict[str, dict[str, Any]] = {"reports": {}, "relaxed": {"durability": "relaxed"}, "unlogged": {"unlogged": True}}
        return {
            "sources": {
                **{name: {"type": "postgres", "dsn": self.pg_source.url("ledger")} for name in ("ledger", "mirror")},
                # A server whose administrator likes other forms of text.
                "odd": {
                    "type": "postgres",
                    "dsn": self.pg_source.url("ledger") + "?options=-c%20intervalstyle%3Dsql_standard"
                    "%20-c%20datestyle%3DGerman%20-c%20bytea_output%3Descape%20-c%20extra_float_digits%3D-5%20-c%20timezone%3DAsia/Kolkata"
                    "%20-c%20xmloption%3Ddocument%20-c%20standard_conforming_strings%3Doff",
                },
            },
            "results": {name: {"type": "postgres", "dsn": self.pg_results.url(self._dbs[name]), **keys} for name, keys in more.items()},
        }

    def start_servers(self) -> None:
        super().start_servers()
        for name in self._dbs.values():
            if not self.pg_results.has_db(name):
                self.pg_results.createdb(name)
        if not self.pg_source.psql("ledger", "SELECT to_regtype('test_mood')"):
            self.pg_source.psql_file("ledger", SOURCE_SQL)

    def stop(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        if self._redis is not None:
            self._redis.close()
            self._redis = None
        super().stop()

    # --- the API

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 30.0) -> Answer:
        """A request through nginx; the answer's envelope is checked."""
        return check_envelope(*self.request(method, path, body, headers, timeout))

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.call("POST", path, body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def submit(self, task: str, *args: Any, **fields: Any) -> str:
        """POSTs a job that must be accepted, with the fields of the request (queue=, eta=, job_id= ...); its id."""
        body = {"job_id": uid(task[:20]), "args": list(args), **fields}
        answer = self.post(f"/tasks/{task}/jobs", body)
        assert answer.status == 200, answer
        return str(answer.data["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/jobs/{job_id}")
        assert answer.status == 200, answer
        return dict(answer.data)

    def wait(self, job_id: str, timeout: float = 30.0, states: Sequence[str] = ("SUCCESS", "FAILURE")) -> dict[str, Any]:
        return self.wait_job(job_id, timeout * SLOW, states)

    def run(self, task: str, *args: Any, **fields: Any) -> dict[str, Any]:
        """Submits a job, waits for its end and returns it."""
        return self.wait(self.submit(task, *args, **fields))

    def succeed(self, task: str, *args: Any, **fields: Any) -> str:
        """Runs a job that must succeed; its id."""
        job = self.run(task, *args, **fields)
        assert job["state"] == "SUCCESS", job
        return str(job["job_id"])

    def fail(self, task: str, *args: Any, **fields: Any) -> dict[str, Any]:
        """Runs a job that must fail; the job."""
        job = self.run(task, *args, **fields)
        assert job["state"] == "FAILURE", job
        assert job["error"], job
        return job

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        status, text, headers = self.request("GET", "/metrics")
        assert status == 200, text
        assert headers["content-type"].startswith("text/plain"), headers
        return parse_metrics(text)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name with (at least) these labels; 0 when there is none."""
        return sum(value for (found, having), value in self.metrics().items() if found == name and having >= frozenset(labels.items()))

    # --- databases and Redis

    def db(self, name: str = "reports", **options: Any) -> psycopg.Connection[Any]:
        """A connection of the test's own (close it, or use it in a with) to `ledger` or a results database."""
        server = self.pg_source if name == "ledger" else self.pg_results
        return psycopg.connect(server.socket_url(self._dbs.get(name, name)), autocommit=True, **options)

    def query(self, statement: Any, *args: Any, db: str = "reports") -> list[tuple[Any, ...]]:
        """The rows of one statement, on a connection that is kept."""
        connection = self._connections.get(db)
        if connection is None or connection.closed:
            connection = self._connections[db] = self.db(db)
        try:
            cursor = connection.execute(statement, args or None)
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            connection = self._connections[db] = self.db(db)  # the server was started again
            cursor = connection.execute(statement, args or None)
        return cursor.fetchall() if cursor.description else []

    def rows(self, job_id: str, order: str = "1", db: str = "reports") -> list[tuple[Any, ...]]:
        """The rows of a job's result table, in the order of the first column."""
        return self.query(sql.SQL("SELECT * FROM {} ORDER BY " + order).format(table_name(job_id)), db=db)

    def count(self, job_id: str, db: str = "reports") -> int:
        return int(self.query(sql.SQL("SELECT count(*) FROM {}").format(table_name(job_id)), db=db)[0][0])

    def columns(self, job_id: str, db: str = "reports") -> list[tuple[str, str]]:
        """(name, exact type) of the result table's columns."""
        return self.query(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            f"results_{job_id}",
            db=db,
        )

    def tables(self, db: str = "reports") -> set[str]:
        """All tables of the results database but those that are DungBeetle's own."""
        return {
            name
            for (name,) in self.query(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " AND relname !~ '^dungbeetle_(results|recovered|marker|template_.*)$'",
                db=db,
            )
        }

    def has_table(self, job_id: str, db: str = "reports") -> bool:
        return f"results_{job_id}" in self.tables(db)

    def registry(self, job_id: str, db: str = "reports") -> dict[str, Any] | None:
        """The job's row in the registry of results."""
        with self.db(db, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute("SELECT * FROM dungbeetle_results WHERE job_id = %s", (job_id,)).fetchone()

    @property
    def r(self) -> redis.Redis:
        """A client of the stack's Redis; texts are str."""
        if self._redis is None:
            self._redis = redis.Redis(unix_socket_path=str(self.redis.socket), decode_responses=True)
        return self._redis

    def key(self, name: str) -> str:
        return self.redis_prefix + name

    def running_query(self, job_id: str, like: str = "%") -> list[dict[str, Any]]:
        """The sessions of the source server that run something for the job."""
        with self.db("ledger", row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(
                "SELECT * FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
                " AND application_name LIKE %s AND query LIKE %s",
                (f"%{job_id}%", like),
            ).fetchall()

    def programs(self) -> list[Program]:
        return [*self.fcgi, *self.workers]


def table_name(job_id: str) -> sql.Identifier:
    return sql.Identifier(f"results_{job_id}")


_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse_metrics(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of a Prometheus text, strictly: anything that does not parse, or comes twice, is an error."""
    assert text.endswith("\n")
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    typed: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# "):
            kind, name, _ = line[2:].split(" ", 2)
            assert kind in ("HELP", "TYPE"), line
            if kind == "TYPE":
                assert name not in typed, line
                typed.add(name)
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        name, inside, value = match.groups()
        labels, at = [], 0
        while inside and at < len(inside):
            label = _LABEL.match(inside, at)
            assert label, line
            labels.append((label[1], label[2]))
            at = label.end()
        key = (name, frozenset(labels))
        assert key not in found, line
        assert name in typed or re.sub(r"_(bucket|sum|count)$", "", name) in typed, line
        found[key] = float(value)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Directories, sanitizers, what is left running

SANITIZER_DIR = Path(tempfile.mkdtemp(prefix="dbt-san-"))
SANITIZER_DIR.chmod(0o777)
_REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|AddressSanitizer:DEADLYSIGNAL")


def set_sanitizer_options() -> None:
    """Reports of sanitized programs go to files of their own, which each test looks for when it ends."""
    common = f"log_path={SANITIZER_DIR}/report:exitcode=99"
    for name, more in (
        ("ASAN", "detect_leaks=1:abort_on_error=0"),
        ("UBSAN", "print_stacktrace=1"),
        ("TSAN", "halt_on_error=0:second_deadlock_stack=1"),
        ("LSAN", ""),
    ):
        os.environ[f"{name}_OPTIONS"] = ":".join(filter(None, (common, more, os.environ.get(f"{name}_OPTIONS"))))


_seen: set[Path] = set()


def sanitizer_reports() -> list[str]:
    """The reports that have not been returned yet."""
    new = [path for path in sorted(SANITIZER_DIR.iterdir()) if path not in _seen]
    _seen.update(new)
    return [path.read_text(errors="replace") for path in new if path.stat().st_size]


def logged_reports(stack: Stack) -> list[str]:
    """The same in the programs' own logs."""
    return [
        f"{program.name}: {line}"
        for program in [*stack.fcgi, *stack.workers]
        for line in program.log_text().splitlines()
        if _REPORT.search(line)
    ]


def left_running(directory: Path) -> list[str]:
    """Processes whose command line names the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words:
            found.append(f"{entry.name}: {words}")
    return found
