"""The stack of the laboratory: nginx before two FastCGI processes, three workers, Redis, a PostgreSQL for the sources, one for the
results, and a MariaDB that is both.

Where each part runs is said by its place: a command in front of it (ip netns exec NAME) and the address on which it is reached.
With a network (proxy.Network) the workers and one FastCGI process reach their servers through wires of their own, named
<program>:<server>; the worker and the FastCGI process of `direct` do not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "deploy" / "dev"), str(HERE.parent / "integration")]

import psycopg  # noqa: E402
import redis  # noqa: E402
import reports  # noqa: E402
from mysql_support import Session  # noqa: E402
from proxy import Network  # noqa: E402
from stack import MariaDB, Nginx, PostgresServer, Program, RedisServer, StackError, deep_merge, free_port, to_yaml, wait_until  # noqa: E402
from stack import ROOT, clean_environment, http_request, short_place, remove_place  # noqa: E402, F401

SERVERS = ("redis", "pg_source", "pg_results", "mariadb")
QUEUES = {"default": 3, "reports": 2, "slow": 2}
DISK = 192  # MiB of the results' disk


@dataclass(frozen=True)
class Place:
    prefix: Sequence[str] = ()
    host: str = "127.0.0.1"


class Disk:
    """A small tmpfs, to be filled. None can be had where mounting is not allowed."""

    def __init__(self, path: Path, user: str | None) -> None:
        self.path = path
        self.path.mkdir(parents=True)
        owner = f",uid={user},gid={user}" if user else ""
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0700{owner}", "none", str(path)],
                              capture_output=True, text=True, check=False)
        self.trouble = done.stderr.strip() if done.returncode else ""

    def fill(self) -> None:
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 16))
            except OSError:
                pass

    def free(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if not self.trouble:
            subprocess.run(["umount", "-l", str(self.path)], check=False)


class LabStack:
    """start() and stop(); or with. config: laid over the generated one. worker_slots: queues of each worker."""

    def __init__(self, directory: str | os.PathLike[str], *, bin_dir: str | os.PathLike[str] = "bin", fcgi: int = 2, workers: int = 3,
                 places: Mapping[str, Place] | None = None, network: Network | None = None, direct: Sequence[str] = (),
                 config: Mapping[str, Any] | None = None) -> None:
        self.dir = short_place(directory)
        self._given_dir = Path(directory).absolute()
        self.bin_dir = ROOT / bin_dir
        self.places = dict(places or {})
        self.network = network
        self.config_path = self.dir / "config.yml"
        self.tasks_dir = self.dir / "tasks"
        self.disk: Disk | None = None
        postgres = {"shared_buffers": "64MB", "fsync": "off", "max_wal_size": "128MB", "max_connections": 200}
        self.redis = RedisServer(self.dir / "redis", "always", auto_aof_rewrite_percentage="0", aof_timestamp_enabled="yes",
                                 **self._where("redis"))
        self.pg_source = PostgresServer(self.dir / "pg-source", **postgres, **self._where("pg_source"))
        self.pg_results = PostgresServer(self.dir / "pg-results", **postgres, **self._where("pg_results"))
        self.mariadb = MariaDB(self.dir / "mariadb", innodb_flush_log_at_trx_commit=2, **self._where("mariadb"))
        self.servers: dict[str, Any] = {name: getattr(self, name) for name in SERVERS}
        self.config = deep_merge(self._default_config(), config or {})
        sockets = [self.dir / f"fcgi-{i}.sock" for i in range(fcgi)]
        self.nginx = Nginx(self.dir / "nginx", free_port(), sockets, **self._where("nginx"))
        self.fcgi = [self._program(f"fcgi-{i}", "dungbeetle-fcgi", direct, "--socket", path) for i, path in enumerate(sockets)]
        self.workers = [self._program(f"worker-{i}", "dungbeetle-worker", direct, "--worker-name", f"worker-{i}") for i in range(workers)]
        self._redis: redis.Redis | None = None
        self._sessions: dict[str, Any] = {}

    def _where(self, name: str) -> dict[str, Any]:
        place = self.places.get(name, Place())
        return {"host": place.host, "prefix": place.prefix}

    def _default_config(self) -> dict[str, Any]:
        worker = {"queues": QUEUES, "lease": "3s", "drain_timeout": "2s", "max_deliveries": 1000, "retry_base": "100ms",
                  "retry_max": "2s", "outage_timeout": "15m"}
        return {
            "redis": {"url": self.redis.tcp_url, "connect_timeout": "1s", "timeout": "2s"},
            "sql_directories": [str(self.tasks_dir)],
            "jobs": {"state_ttl": "10s", "result_ttl": "1h", "retries": 100},
            "fcgi": {"socket": str(self.dir / "fcgi-0.sock")},
            "worker": worker,
            "sources": {"pg": {"type": "postgres", "dsn": self.pg_source.url("ledger"), "connect_timeout": "2s"},
                        "my": {"type": "mysql", "dsn": self.mariadb.dsn("ledger"), "connect_timeout": "2s"}},
            "results": {"rpg": {"type": "postgres", "dsn": self.pg_results.url("reports"), "connect_timeout": "2s"},
                        "rmy": {"type": "mysql", "dsn": self.mariadb.dsn("reports"), "connect_timeout": "2s"}},
        }

    def _program(self, name: str, binary: str, direct: Sequence[str], *args: str | os.PathLike[str]) -> Program:
        env = {}
        if self.network is not None and name not in direct:
            env = self._wired(name, SERVERS if name.startswith("worker") else ("redis",))
        argv = [self.bin_dir / binary, "--config", self.config_path, *args]
        return Program(name, argv, self.dir / f"{name}.log", env, prefix=self.places.get(name, Place()).prefix)

    def _wired(self, name: str, servers: Sequence[str]) -> dict[str, str]:
        """The addresses of wires to the servers, as the program's environment."""
        assert self.network is not None
        env = {}
        for server_name in servers:
            server = self.servers[server_name]
            wire = self.network.wire(f"{name}:{server_name}", (server.host, server.port))
            there, here = f"{server.host}:{server.port}", f"{wire.host}:{wire.port}"
            for key, url in self._addresses(server_name).items():
                env[f"DUNGBEETLE_{key}"] = url.replace(there, here)
        return env

    def _addresses(self, server: str) -> dict[str, str]:
        return {"redis": {"REDIS__URL": self.redis.tcp_url},
                "pg_source": {"SOURCES__PG__DSN": self.pg_source.url("ledger")},
                "pg_results": {"RESULTS__RPG__DSN": self.pg_results.url("reports")},
                "mariadb": {"SOURCES__MY__DSN": self.mariadb.dsn("ledger"), "RESULTS__RMY__DSN": self.mariadb.dsn("reports")}}[server]

    # --- life

    def programs(self) -> dict[str, Program]:
        """Every process by its name."""
        return {**{program.name: program for program in [*self.fcgi, *self.workers]}, "nginx": self.nginx.program,
                **{name: server.program for name, server in self.servers.items()}}

    def start(self) -> LabStack:
        try:
            self.start_servers()
            self.tasks_dir.mkdir(exist_ok=True)
            reports.write_tasks(self.tasks_dir / "lab.sql")
            self.config_path.write_text(to_yaml(self.config))
            for program in [*self.fcgi, *self.workers]:
                program.start()
            self.nginx.start()
            wait_until(self._ready, 60, "200 of GET /health and the workers' registration", [*self.fcgi, *self.workers])
        except BaseException:
            self.stop()
            raise
        return self

    def start_servers(self) -> None:
        for server in self.servers.values():
            server.start()
        self.disk = Disk(self.dir / "disk", self.pg_results.user)
        where = ""
        if not self.disk.trouble:
            self.pg_results.psql("postgres", f"CREATE TABLESPACE small LOCATION '{self.disk.path}'")
            where = " TABLESPACE small"
        self.pg_results.psql("postgres", f"CREATE DATABASE reports{where}")
        self.pg_source.createdb("ledger")
        for name in ("ledger", "reports"):
            self.mariadb.createdb(name)
        self.pg_source.load_ledger("ledger", reports.ENTRIES)
        self.mariadb.load_ledger("ledger", reports.ENTRIES)

    def _ready(self) -> bool:
        try:
            return self.request("GET", "/health")[0] == 200 and len(self.r.hkeys(self.key("workers"))) >= len(self.workers)
        except OSError:
            return False

    def stop(self) -> None:
        """Stops what runs, in the reverse order; the files stay (see remove)."""
        self.close_sessions()
        programs = [*self.fcgi, *self.workers]
        for program in [self.nginx.program, *programs]:
            signal_group(program, signal.SIGCONT)
        self.nginx.stop()
        for program in programs:
            program.terminate()
        for program in programs:
            program.stop(5)
        for server in reversed(self.servers.values()):
            server.program.resume()
            server.stop()
        if self.disk is not None:
            self.disk.unmount()

    def remove(self) -> None:
        remove_place(self._given_dir)

    def __enter__(self) -> LabStack:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- looking and asking

    def request(self, method: str, path: str, body: Any = None, timeout: float = 30.0) -> tuple[int, Any, dict[str, str]]:
        return http_request(self.nginx.port, method, path, body, None, timeout, self.nginx.host)

    def expire(self) -> subprocess.CompletedProcess[str]:
        """Runs dungbeetle-expire to its end, in its own place."""
        argv = [*self.places.get("expire", Place()).prefix, self.bin_dir / "dungbeetle-expire", "--config", self.config_path]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=clean_environment())

    @property
    def r(self) -> redis.Redis:
        if self._redis is None:
            self._redis = redis.Redis(unix_socket_path=str(self.redis.socket), decode_responses=True)
        return self._redis

    def key(self, name: str) -> str:
        return f"dungbeetle:{name}"

    def rows(self, database: str, statement: str) -> list[tuple[str, ...]]:
        """The rows of a statement on `pg` (the source), `rpg` or `rmy`, every value as a text; on a session that is kept."""
        if database == "rmy":
            if database not in self._sessions:
                self._sessions[database] = Session(self.mariadb, "reports")
            try:
                found = [tuple(row) for row in self._sessions[database].ask(statement)]
            except (StackError, OSError):
                self._sessions.pop(database).end()
                raise
            if found and found[0][0].startswith("ERROR "):
                raise StackError(found[0][0])
            return found
        connection = self._sessions.get(database)
        if connection is None or connection.closed:
            server, name = (self.pg_source, "ledger") if database == "pg" else (self.pg_results, "reports")
            connection = self._sessions[database] = psycopg.connect(server.socket_url(name), autocommit=True)
        cursor = connection.execute(statement)
        return [tuple("NULL" if cell is None else str(cell) for cell in row) for row in cursor.fetchall()] if cursor.description else []

    def close_sessions(self) -> None:
        for session in self._sessions.values():
            session.end() if isinstance(session, Session) else session.close()
        self._sessions.clear()


def signal_group(program: Program, number: int) -> None:
    """To the program and its children: nginx would leave its own behind."""
    if program.alive():
        os.killpg(program.pid, number)
