"""What the benchmarks stand on: one private stack, small clients that cost little themselves, and the figures' form."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "dev"))

from stack import ClickHouse, MariaDB, Program, Stack, find_program, wait_until  # noqa: E402

ENTRIES = 1_000_000
QUEUE, SLOTS = "bench", 10  # the queue of tasks/bench.sql
# Neither checkpoints nor autovacuum in mid-run; the catalogs are vacuumed between the runs.
POSTGRES = {"shared_buffers": "1GB", "jit": "off", "fsync": "on", "max_wal_size": "16GB", "checkpoint_timeout": "1h",
            "autovacuum": "off"}
MARIADB = {"innodb_buffer_pool_size": "1G", "innodb_log_file_size": "2G", "innodb_flush_log_at_trx_commit": "1", "skip_log_bin": "1",
           "sync_binlog": "0"}
# The AOF starts empty in each run, so that Redis would rewrite it in mid-run, all the time, which it does not in real life.
REDIS = {"appendfsync": "everysec", "auto_aof_rewrite_percentage": "0"}


class BenchError(Exception):
    """A measurement that does not count: a request refused, a job failed, rows missing."""


# ---------------------------------------------------------------------------------------------------------------------
# Figures


@dataclass
class Figure:
    """One line of the output. value is what the limit is about: a ratio, a difference, or ours itself."""

    name: str
    ours: float
    floor: float | None
    value: float
    limit: float | None
    unit: str  # of ours and floor
    value_unit: str = ""  # "" = ratio
    at_most: bool = True  # False: the limit is the least value
    note: str = ""
    runs: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.limit is None or (self.value <= self.limit if self.at_most else self.value >= self.limit)

    def line(self) -> str:
        floor = "-" if self.floor is None else f"{self.floor:.4g}"
        limit = "-" if self.limit is None else f"{'<=' if self.at_most else '>='}{self.limit:.4g}{self.value_unit}"
        verdict = "ok" if self.ok else "SHORT"
        return (f"{self.name:<16} {self.ours:>10.4g} {floor:>10} {self.value:>8.3f}{self.value_unit:<3} {limit:>9} {verdict:<5}"
                f"  {self.unit}{'; ' if self.note else ''}{self.note}")

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ours": self.ours, "floor": self.floor, "value": self.value, "limit": self.limit,
                "at_most": self.at_most, "unit": self.unit, "value_unit": self.value_unit or "ratio", "ok": self.ok,
                "note": self.note, "runs": self.runs}


HEADER = f"{'name':<16} {'ours':>10} {'floor':>10} {'ratio':>8}    {'limit':>9} {'':<5}  unit of ours and floor; remarks"


def in_turn(runs: int, sides: Mapping[str, Callable[[], Any]], warm: bool = True) -> dict[str, list[Any]]:
    """Runs each side in turn, in the other order every second time; a first round is not counted."""
    results: dict[str, list[Any]] = {name: [] for name in sides}
    if warm:
        for side in sides.values():
            side()
    for i in range(runs):
        for name in (list(sides) if i % 2 == 0 else list(reversed(sides))):
            results[name].append(sides[name]())
    return results


def median_of(results: Sequence[Any], key: str | None = None) -> float:
    return statistics.median(value[key] if key else value for value in results)


# ---------------------------------------------------------------------------------------------------------------------
# Clients


class Http:
    """One kept connection to nginx. Much cheaper than http.client; knows answers with a Content-Length only."""

    REQUESTS = 500  # on one connection; nginx closes it after 1000

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def _connect(self) -> None:
        self._left = self.REQUESTS
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def refresh(self) -> None:
        """A new connection in time, when it costs no measured time."""
        if self._left <= 0:
            self._socket.close()
            self._connect()

    def __enter__(self) -> "Http":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body; BenchError unless it is a 200."""
        self._left -= 1
        self._socket.sendall(b"%s %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                             % (method.encode(), path.encode(), len(body), body))
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        while length and len(rest) < int(length[1]):
            rest += self._receive()
        if not length or not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"{method} {path}: {(head + rest)!r}")
        return rest

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise BenchError("nginx has closed the connection")
        return data

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self.call("POST", path, json.dumps(body).encode()))["data"]


class Redis:
    """Enough of a Redis client to look at states."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def all(self, commands: Iterable[Sequence[str | int]]) -> list[Any]:
        """One pipeline."""
        commands = list(commands)
        text = b""
        for command in commands:
            words = [str(word).encode() for word in command]
            text += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._socket.sendall(text)
        return [self._reply() for _ in commands]

    def call(self, *command: str | int) -> Any:
        return self.all([command])[0]

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise BenchError(f"Redis: {rest.decode()}")
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2].decode()
        return rest.decode()


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not re.match(r"PG[A-Z]+$|DUNGBEETLE_", key)}


def run_tool(argv: Sequence[str | os.PathLike[str]], text: str | None = None) -> str:
    """The output of a program that must end well."""
    done = subprocess.run([os.fspath(word) for word in argv], input=text, capture_output=True, text=True, check=False,
                          env=clean_environment())
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def queries() -> dict[str, str]:
    """The tasks' SQL by their names, without the semicolon."""
    text = "\n".join(file.read_text() for file in (HERE / "tasks" / "bench.sql", HERE / "tasks_engines" / "engines.sql"))
    found = {}
    for block in re.split(r"(?m)^-- name: *", text)[1:]:
        name, _, rest = block.partition("\n")
        body = "\n".join(line for line in rest.splitlines() if not line.startswith("--"))
        found[name.strip()] = body.strip().rstrip(";")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The stack


class Rig:
    """The stack of all benchmarks: nginx, one FastCGI process, Redis, and one PostgreSQL for source and results, ours and
    the floors'; with engines also one MariaDB, likewise, and ClickHouse. Workers are started by the benchmarks that want one."""

    def __init__(self, directory: Path, bin_dir: Path, bench_dir: Path, *, runs: int, quick: bool, engines: bool) -> None:
        self.quick = quick
        self.runs = runs
        self.entries = ENTRIES // 10 if quick else ENTRIES
        self.directory = directory
        self.bench_dir = bench_dir
        self.queries = queries()
        self.stack = Stack(directory / "stack", bin_dir=bin_dir, workers=0, load=self.entries, queues={QUEUE: SLOTS},
                           sql_directories=[HERE / "tasks", *([HERE / "tasks_engines"] if engines else [])], redis=REDIS, postgres=POSTGRES)
        reports = self.stack.config["results"].pop("reports")
        self.stack.config["results"] = {"unlogged": {**reports, "unlogged": True},
                                        "relaxed": {**reports, "durability": "relaxed"}}
        self.my = MariaDB(self.stack.dir / "mariadb", **MARIADB)
        self.ch = ClickHouse(self.stack.dir / "clickhouse")
        self.engines: list[MariaDB | ClickHouse] = [self.my, self.ch] if engines else []
        if engines:
            self.stack.config["sources"]["my"] = {"type": "mysql", "dsn": self.my.dsn("ledger")}
            self.stack.config["sources"]["ch"] = {"type": "clickhouse", "dsn": self.ch.dsn("ledger")}
            self.stack.config["results"]["my"] = {"type": "mysql", "dsn": self.my.dsn("reports")}
        self.pg = self.stack.pg_source
        self._bin = Path(self.pg.program.argv[0]).parent  # Debian's psql elsewhere is a Perl script that starts this one
        self._redis: Redis | None = None

    def __enter__(self) -> "Rig":
        try:
            for server in self.engines:
                server.start()
                server.createdb("ledger")
                server.createdb("reports")
                server.load_ledger("ledger", self.entries)
            self.stack.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._redis:
            self._redis.close()
        self.stack.stop()
        for server in self.engines:
            server.stop()
        self.stack.remove()

    def tool(self, name: str) -> str:
        """A program of PostgreSQL, or another one."""
        mine = self._bin / name
        return str(mine) if mine.exists() else find_program(name)

    @property
    def source_url(self) -> str:
        return self.pg.url("ledger")

    @property
    def results_url(self) -> str:
        return self.pg.url("reports")

    @property
    def redis(self) -> Redis:
        if self._redis is None:
            self._redis = Redis(self.stack.redis.socket)
        return self._redis

    def key(self, *parts: str) -> str:
        return self.stack.redis_prefix + ":".join(parts)

    def http(self) -> Http:
        return Http(self.stack.nginx.port)

    # --- workers ---

    def start_worker(self) -> Program:
        return self.stack.worker("bench")

    def stop_worker(self, worker: Program) -> None:
        worker.stop(20)
        self.stack.workers.remove(worker)

    def wait_empty(self, job_ids: Sequence[str], watch: Program, timeout: float = 300.0) -> float:
        """Until the stream is empty; the time of that. BenchError unless all the jobs are SUCCESS then."""
        stream, deadline = self.key("queue", QUEUE), time.monotonic() + timeout
        while self.redis.call("XLEN", stream) != 0:
            if not watch.alive() or time.monotonic() > deadline:
                raise BenchError(f"the jobs do not end:\n{watch.log_tail()}")
            time.sleep(0.001)
        ended = time.perf_counter()
        states = self.redis.all(("HMGET", self.key("job", job_id), "state", "error") for job_id in job_ids)
        bad = [state for state in states if state[0] != "SUCCESS"]
        if bad:
            raise BenchError(f"{len(bad)} of {len(states)} jobs are not SUCCESS, the first: {bad[0]}")
        return ended

    # --- between runs ---

    def clear_tables(self) -> None:
        """Drops every result table, ours and the floors', and tidies the catalogs.

        No checkpoint: that is when PostgreSQL deletes the files of dropped tables, and ext4 makes each new file slower the
        more inodes were freed in the last minutes (it does not use them again so soon, and looks at each)."""
        sql = "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '^(results_|floor_r?[0-9]+$)'"
        names = self.pg.psql("reports", sql).split()
        for i in range(0, len(names), 500):
            self.pg.psql("reports", "SET synchronous_commit = off; DROP TABLE " + ", ".join(f'"{n}"' for n in names[i:i + 500]))
        self.pg.psql("reports", "TRUNCATE dungbeetle_results" if self.has_registry() else "SELECT 1")
        if names:
            vacuum = "\n".join(f"VACUUM {t};" for t in ("pg_class", "pg_attribute", "pg_type", "pg_depend", "pg_index", "pg_shdepend"))
            run_tool([self.tool("psql"), "-qX", "-d", self.results_url], vacuum)

    def has_registry(self) -> bool:
        return self.pg.psql("reports", "SELECT to_regclass('dungbeetle_results') IS NOT NULL") == "t"

    def clear_redis(self) -> None:
        """Empties Redis and its AOF. Not while a worker runs."""
        self.redis.call("FLUSHALL")
        self.redis.call("BGREWRITEAOF")
        def written() -> bool:
            info = self.redis.call("INFO", "persistence")
            return "aof_rewrite_in_progress:0" in info and "aof_rewrite_scheduled:0" in info
        wait_until(written, 60, "the end of Redis' AOF rewrite")


# ---------------------------------------------------------------------------------------------------------------------
# The machine


def _first(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else "?"


def _said(*argv: str) -> str:
    """What a program says of itself; "?" when it is not there."""
    found = shutil.which(argv[0], path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        return "?"
    done = subprocess.run([found, *argv[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    return (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else "?"


def machine(rig: Rig) -> dict[str, Any]:
    return {
        "cpu": _first(r"model name\s*: (.*)", "/proc/cpuinfo"), "cpus": os.cpu_count(),
        "memory_kib": int(_first(r"MemTotal: *(\d+)", "/proc/meminfo")), "kernel": os.uname().release,
        "load_average_before": os.getloadavg(), "postgres": rig.pg.psql("postgres", "SHOW server_version"),
        "redis": _said("redis-server", "--version"), "nginx": _said("nginx", "-v"), "wrk": "-t1 -c32",
        "commit": _said("git", "rev-parse", "HEAD"), "as_committed": _said("git", "status", "--porcelain") == "?",
        "postgres_settings": POSTGRES, "redis_settings": REDIS,
        **({"mariadb": rig.my.sql("SELECT version()"), "clickhouse": rig.ch.query("SELECT version()"), "mariadb_settings": MARIADB}
           if rig.engines else {}),
    }
