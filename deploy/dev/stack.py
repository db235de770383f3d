"""A whole private DungBeetle stack: Redis, databases, nginx, the FastCGI process and workers.

Used by `make up|down|demo` (dev.py), by the integration tests and by the benchmarks. Standard library only. Every server
gets its own directory, free loopback ports and unix sockets, so several stacks live side by side and nothing of the
machine's own services is touched.

    with Stack("/tmp/x", load=10_000) as stack:
        status, answer, headers = stack.request("POST", "/tasks/statement/jobs", {"args": ["1"]})
        job = stack.wait_job(answer["data"]["job_id"])

programs.py says how processes are started and found again, servers.py and engines.py have the servers.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Mapping, Sequence

from engines import ClickHouse, ClickHouseNew, MariaDB
from programs import (ROOT, Program, StackError, clean_environment, find_program, free_port, port_is_free, remove_place, short_place,
                      wait_until)
from servers import ENTRIES_OF_A_USER, Nginx, PostgresServer, RedisServer
from yaml_out import deep_merge, to_yaml

__all__ = ["ENTRIES_OF_A_USER", "ROOT", "ClickHouse", "ClickHouseNew", "MariaDB", "Nginx", "PostgresServer", "Program", "RedisServer",
           "SAMPLES", "Stack", "StackError", "deep_merge", "find_program", "free_port", "http_request", "port_is_free", "remove_place",
           "short_place", "to_yaml", "wait_until"]

SAMPLES = {"postgres": "queries", "mysql": "queries/mysql", "clickhouse": "queries/clickhouse"}  # by the source's engine


class Stack:
    """Redis, a source database `ledger` and a results database `reports`, nginx, FastCGI and workers.

    engine: whose databases. postgres and mysql: both on one server; clickhouse: the results are in PostgreSQL.
    queues: slots by queue, of each worker. config: laid over the generated configuration (None removes a key).
    fcgi, workers: how many. two_servers: results on a PostgreSQL of their own. load: entries of the ledger, a hundred
    for each user (None: 20,000; 0: no tables). redis, postgres, nginx: options of RedisServer, PostgresServer and Nginx.
    keep: processes stay when ours ends.
    """

    source: PostgresServer | MariaDB | ClickHouse
    results: PostgresServer | MariaDB

    def __init__(self, directory: str | os.PathLike[str], *, bin_dir: str | os.PathLike[str] = "bin",
                 http_port: int | None = None, queues: Mapping[str, int] | None = None,
                 sql_directories: Sequence[str | os.PathLike[str]] | None = None, config: Mapping[str, Any] | None = None,
                 engine: str = "postgres", fcgi: int = 1, workers: int = 1, two_servers: bool = False, load: int | None = None,
                 redis: Mapping[str, Any] | None = None, postgres: Mapping[str, Any] | None = None,
                 nginx: Mapping[str, Any] | None = None, keep: bool = False) -> None:
        self.dir = short_place(directory)
        self._given_dir = Path(directory).absolute()
        self.bin_dir = ROOT / bin_dir
        self.queues = dict(queues if queues is not None else {"default": 10, "reports": 2})
        self.keep = keep
        self.load = 20_000 if load is None else load
        self.config_path = self.dir / "config.yml"

        self.redis = RedisServer(self.dir / "redis", keep=keep, **(redis or {}))
        self._make_databases(engine, two_servers, {**(postgres or {}), "keep": keep})
        self.config = deep_merge(self._default_config(sql_directories or [SAMPLES[engine]]), config or {})
        self.fcgi_sockets = [self.dir / f"fcgi-{i}.sock" for i in range(fcgi)]
        self.fcgi = [self._program(f"fcgi-{i}", "dungbeetle-fcgi", "--socket", path) for i, path in enumerate(self.fcgi_sockets)]
        self.workers = [self.worker(f"worker-{i}", start=False) for i in range(workers)]
        self.nginx = Nginx(self.dir / "nginx", http_port or free_port(), self.fcgi_sockets, keep=keep, **(nginx or {}))

    def _make_databases(self, engine: str, two_servers: bool, postgres: Mapping[str, Any]) -> None:
        if engine == "mysql":
            self.source = self.results = MariaDB(self.dir / "mariadb", keep=self.keep)
        elif engine == "clickhouse":
            self.source = ClickHouse(self.dir / "clickhouse", keep=self.keep)
            self.results = PostgresServer(self.dir / "pg-results", **postgres)
        else:
            self.source = self.results = PostgresServer(self.dir / "pg-source", **postgres)
            if two_servers:
                self.results = PostgresServer(self.dir / "pg-results", **postgres)

    @property
    def pg_source(self) -> PostgresServer:
        """The source of a stack whose engine is postgres."""
        return self.source  # type: ignore[return-value]

    @property
    def pg_results(self) -> PostgresServer:
        """The results' server, where it is PostgreSQL."""
        return self.results  # type: ignore[return-value]

    @property
    def url(self) -> str:
        return self.nginx.url

    @property
    def redis_prefix(self) -> str:
        return str(self.config["redis"].get("prefix", "dungbeetle:"))

    def _default_config(self, sql_directories: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
        return {
            "redis": {"url": self.redis.url},
            "sql_directories": [str(ROOT / path) for path in sql_directories],
            "fcgi": {"socket": str(self.dir / "fcgi-0.sock")},
            "worker": {"queues": self.queues},
            "sources": {"ledger": {"type": self.source.ENGINE, "dsn": self.source.dsn("ledger")}},
            "results": {"reports": {"type": self.results.ENGINE, "dsn": self.results.dsn("reports")}},
        }

    def write_config(self) -> None:
        self.config_path.write_text(to_yaml(self.config))
        self.config_path.chmod(0o600)

    def start(self) -> "Stack":
        """Starts everything and waits until each part answers; on failure nothing is left running."""
        try:
            self.start_servers()
            self.write_config()
            for program in [*self.fcgi, *self.workers]:
                program.start()
            self.nginx.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def start_servers(self) -> None:
        """Redis and the servers with the two databases and the ledger, without DungBeetle's own programs."""
        self.redis.start()
        self.source.start()
        if self.results is not self.source:
            self.results.start()
        for server, name in ((self.source, "ledger"), (self.results, "reports")):
            if not server.has_db(name):
                server.createdb(name)
        if self.load:
            self.source.load_ledger("ledger", self.load)

    def wait_ready(self, timeout: float = 30.0) -> None:
        wait_until(self._healthy, timeout, "200 of GET /health", [*self.fcgi, self.nginx.program])
        for worker in self.workers:
            self.wait_worker(worker, timeout)

    def _healthy(self) -> bool:
        try:
            return self.request("GET", "/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        """Stops what runs, in the reverse order; the files stay (see remove)."""
        self.nginx.stop()
        for program in [*self.fcgi, *self.workers]:
            program.resume()
            program.terminate()  # all at once, and then again by stop(): the second signal cuts draining short
        for program in [*self.fcgi, *self.workers]:
            program.stop(5)
        if self.results is not self.source:
            self.results.stop()
        self.source.stop()
        self.redis.stop()

    def remove(self) -> None:
        """Deletes all files of the stack."""
        remove_place(self._given_dir)

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self, name: str, binary: str, *args: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Program:
        argv = [self.bin_dir / binary, "--config", self.config_path, *args]
        return Program(name, argv, self.dir / f"{name}.log", env, keep=self.keep)

    def worker(self, name: str, extra_args: Sequence[str] = (), *, env: Mapping[str, str] | None = None,
               start: bool = True) -> Program:
        """One more worker; with start, it is also waited for and stopped by stop()."""
        program = self._program(name, "dungbeetle-worker", "--worker-name", name, *extra_args, env=env)
        if start:
            self.workers.append(program.start())
            self.wait_worker(program)
        return program

    def wait_worker(self, worker: Program, timeout: float = 30.0) -> None:
        """Until the worker has registered itself in Redis, under its name and with the pid of this run."""
        wait_until(lambda: self._registered(worker), timeout, f"registration of {worker.name}", [worker])

    def _registered(self, worker: Program) -> bool:
        registered = [json.loads(line) for line in self.redis.cli("HVALS", f"{self.redis_prefix}workers").splitlines() if line]
        return any((known["name"], known["pid"]) == (worker.name, worker.pid) for known in registered)

    def expire(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs dungbeetle-expire to its end."""
        argv: list[str | os.PathLike[str]] = [self.bin_dir / "dungbeetle-expire", "--config", self.config_path, *args]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=clean_environment())

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
                timeout: float = 30.0) -> tuple[int, Any, dict[str, str]]:
        """(status, body, headers with lower-case names) through nginx. A body that is not str or bytes is sent as JSON;
        the answer is decoded when it is JSON, else text."""
        return http_request(self.nginx.port, method, path, body, headers, timeout, self.nginx.host)

    def wait_job(self, job_id: str, timeout: float = 30.0, states: Sequence[str] = ("SUCCESS", "FAILURE")) -> dict[str, Any]:
        """Polls GET /jobs/{id} until the job is in one of the states, and returns its data."""
        def look() -> dict[str, Any] | None:
            status, answer, _ = self.request("GET", f"/jobs/{job_id}")
            if status >= 500:
                return None  # a part may be down just now: tests kill them
            if status != 200:
                raise StackError(f"GET /jobs/{job_id}: {status} {answer}")
            return answer["data"] if answer["data"]["state"] in states else None
        return wait_until(look, timeout, f"{' or '.join(states)} of job {job_id}")


def http_request(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
                 timeout: float = 30.0, host: str = "127.0.0.1") -> tuple[int, Any, dict[str, str]]:
    data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, data.encode() if isinstance(data, str) else data,
                           {**({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    found = {key.lower(): value for key, value in response.getheaders()}
    is_json = found.get("content-type", "").startswith("application/json") and text
    return response.status, json.loads(text) if is_json else text, found
