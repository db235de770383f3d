"""`make soak [JOBS=200000]`: many small jobs through one worker and one FastCGI process, which may not grow by them.

Posts a tenth of the jobs, lets everything end and expire, and measures; posts the others, and measures again. Prints one line a
figure, exit status 1 if any is short, 2 when something could not be measured:
    name at20000 atend ratio limit ok|SHORT
Results and states live for a few seconds only, so that what expires does so all the time. Nothing is left running.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import quick_place
from rig import HERE, QUEUE, ROOT, SLOTS, BenchError, Http, Redis, clean_environment
from stack import Program, Stack, StackError, deep_merge, http_request, wait_until

ROUND, GROUP = 100, 50  # jobs of a round: a group of GROUP, the others one by one
BACKLOG = 2000  # jobs not finished at which the clients wait
CLIENTS = 4
GROWTH = 1.05
REDIS_SLACK = 256 << 10  # its buffers
REST_S = 5.0
# The C library keeps up to 0.2 MB for each thread in a cache that fills slowly, for hours, and never shrinks. Without it a leak in
# the worker shows at once. (The FastCGI process has an allocator of its own.)
NO_THREAD_CACHES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


@dataclass(frozen=True)
class Line:
    """A figure, measured twice. limit: the most that the ratio may be; 1.0: equal. slack: allowed beside, in the figure's unit."""

    name: str
    unit: str
    limit: float | None = None
    slack: float = 0

    def show(self, first: float, last: float) -> bool:
        ratio = last / first if first else 1.0 + last
        ok = self.limit is None or (last == first if self.limit == 1.0 else last <= first * self.limit + self.slack)
        limit = "-" if self.limit is None else "=" if self.limit == 1.0 else f"<={self.limit}"
        print(f"{self.name:<22} {first:>12.10g} {last:>12.10g} {ratio:>7.3f} {limit:>7} {'ok' if ok else 'SHORT':<5}  {self.unit}", flush=True)
        return ok


LINES = [
    *(line for name in ("worker", "fcgi") for line in (
        Line(f"{name}-rss", "kB, Rss of smaps_rollup (the worker's without malloc's thread caches)", GROWTH), Line(f"{name}-anonymous", "kB, Anonymous of smaps_rollup"),
        Line(f"{name}-fds", "open file descriptors", 1.0), Line(f"{name}-threads", "threads", 1.0))),
    Line("redis-memory", "bytes, used_memory", GROWTH, REDIS_SLACK), Line("redis-keys", "keys", 1.0),
    Line("redis-stream", "entries of the stream, pending ones, scheduled and waiting jobs", 1.0),
    Line("redis-clients", "connections", 1.0),
    Line("result-tables", "tables after dungbeetle-expire", 1.0), Line("registry-rows", "rows with a table after dungbeetle-expire", 1.0),
    Line("registry-guards", "rows that guard deleted jobs, for an hour each"),
    Line("source-sessions", "sessions of the worker's in PostgreSQL", 1.0),
]


def lines(options: argparse.Namespace) -> list[Line]:
    chosen = [line for line in LINES if options.memory or not re.search("-rss|-anonymous", line.name)]
    return [replace(line, slack=options.slack) if line.name.endswith("-rss") else line for line in chosen]


def rollup(program: Program) -> dict[str, int]:
    """The sums of smaps_rollup, in kB."""
    text = Path(f"/proc/{program.pid}/smaps_rollup").read_text()
    return {name: int(n) for name, n in re.findall(r"(\w+): +(\d+) kB", text)}


def descriptors(program: Program) -> int:
    return len(list(Path(f"/proc/{program.pid}/fd").iterdir()))


class Soak:
    """The stack, the clients and the cron job."""

    def __init__(self, directory: Path, bin_dir: Path, ttl: int, memory: bool) -> None:
        self.ttl = ttl
        self.memory = memory  # is it looked at?
        self.stack = Stack(directory, bin_dir=bin_dir, workers=1, load=100_000, queues={QUEUE: SLOTS}, sql_directories=[HERE / "tasks"],
                           postgres={"shared_buffers": "512MB", "max_wal_size": "4GB", "autovacuum_naptime": "5s"},
                           nginx={"access_log": False})
        reports = self.stack.config["results"].pop("reports")
        self.stack.config = deep_merge(self.stack.config, {
            "jobs": {"result_ttl": f"{ttl}s", "state_ttl": f"{ttl}s"}, "log": {"level": "warn"},
            "results": {"unlogged": {**reports, "unlogged": True}, "relaxed": {**reports, "durability": "relaxed"}}})
        for program in self.stack.workers:
            program.env.update(NO_THREAD_CACHES)
        self.posted = self.deleted = self.rounds = 0
        self._older: list[str] = []  # jobs to be deleted when they have ended
        self.peak_keys = self.peak_tables = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._cron: subprocess.Popen[str] | None = None
        self._next_cron = 0.0

    def __enter__(self) -> "Soak":
        self.stack.start()
        self.redis = Redis(self.stack.redis.socket)
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._cron:
            self._cron.wait()
        self.stack.stop()
        self.stack.remove()

    @property
    def programs(self) -> dict[str, Program]:
        return {"worker": self.stack.workers[0], "fcgi": self.stack.fcgi[0]}

    def key(self, name: str) -> str:
        return self.stack.redis_prefix + name

    # --- clients ---

    def post(self, jobs: int) -> None:
        """Posts until so many jobs have been accepted in all. The clients wait while too many are not finished."""
        self._left = (jobs - self.posted) // ROUND
        room = threading.Event()
        clients = [threading.Thread(target=self._client, args=(room,), daemon=True) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            self._watch(room)
            time.sleep(0.02)
        if self._errors:
            raise self._errors[0]

    def _watch(self, room: threading.Event) -> None:
        for program in self.programs.values():
            if not program.alive():
                self._stop.set()
                raise BenchError(f"{program.name} has ended:\n{program.log_tail()}")
        (room.set if self.backlog() < BACKLOG - CLIENTS * ROUND else room.clear)()
        self.cron()

    def backlog(self) -> int:
        return int(self.redis.call("XLEN", self.key(f"queue:{QUEUE}")))

    def _client(self, room: threading.Event) -> None:
        try:
            while not self._stop.is_set():
                if not room.wait(0.1):
                    continue
                with self._lock:
                    if self._left <= 0:
                        return
                    self._left -= 1
                    self.rounds += 1
                    number = self.rounds
                with Http(self.stack.nginx.port) as http:
                    self._round(http, number)
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()

    def _round(self, http: Http, number: int) -> None:
        """A hundred jobs, of which one fails in the source, one has a wrong number of arguments and two may be deleted."""
        first = number * ROUND
        group = http.post("/groups", {"concurrency": 10 if number % 10 == 0 else 0, "jobs": [
            {"task": "bench_small", "args": [str(1 + (first + i) % 90_000)]} for i in range(GROUP)]})
        singles = []
        for i in range(GROUP, ROUND):
            args = [] if i == 60 else ["not a number"] if i == 70 else [str(1 + (first + i) % 90_000)]
            singles.append(http.post("/tasks/bench_small/jobs", {"args": args})["job_id"])
        http.call("GET", f"/jobs/{singles[0]}")
        http.call("GET", f"/groups/{group['group_id']}")
        http.call("GET", f"/jobs/queue/{QUEUE}?limit=10")
        http.call("GET", "/metrics" if number % 20 == 0 else "/tasks")
        self._refused(http, "POST", "/tasks/no_such_task/jobs", b"{}", 404)
        self._refused(http, "POST", "/tasks/bench_small/jobs", b'{"args": [1', 400)
        with self._lock:
            self.posted += ROUND
            self.deleted += 2
            ended = self._older.pop(0) if len(self._older) > 2 * CLIENTS else ""
            self._older.append(singles[-1])
        http.call("DELETE", f"/jobs/{group['jobs'][GROUP // 2]['job_id']}?purge=true")
        if ended:
            try:
                http.call("DELETE", f"/jobs/{ended}?purge=true")
            except BenchError as error:  # it may have expired
                if "HTTP/1.1 404" not in str(error):
                    raise

    @staticmethod
    def _refused(http: Http, method: str, path: str, body: bytes, status: int) -> None:
        try:
            http.call(method, path, body)
        except BenchError as error:
            if f"HTTP/1.1 {status}" in str(error):
                return
            raise
        raise BenchError(f"{method} {path} is accepted")

    # --- expiry ---

    def cron(self) -> None:
        """dungbeetle-expire, one at a time, twice in the life of a result."""
        if self._cron and self._cron.poll() is not None:
            if self._cron.returncode not in (0, 1):
                raise BenchError(f"dungbeetle-expire: {self._cron.communicate()[0]}")
            self._cron = None
        if not self._cron and time.monotonic() >= self._next_cron:
            self.peak_keys = max(self.peak_keys, int(self.redis.call("DBSIZE")))
            self.peak_tables = max(self.peak_tables, self.tables())
            self._next_cron = time.monotonic() + self.ttl / 2
            argv = [self.stack.bin_dir / "dungbeetle-expire", "--config", self.stack.config_path]
            self._cron = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment())

    def tables(self) -> int:
        return int(self.stack.pg_results.psql("reports", "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^results_'"))

    def expire_all(self) -> None:
        """Until every result's time is over and dungbeetle-expire has dropped it."""
        wait_until(lambda: self.backlog() == 0, 300, "an empty queue", [self.programs["worker"]])
        ended = time.monotonic()
        while time.monotonic() < ended + self.ttl + 1:
            self.cron()
            time.sleep(0.05)
        if self._cron:
            self._cron.wait()
        done = self.stack.expire()
        if done.returncode != 0:
            raise BenchError(f"dungbeetle-expire: {done.stdout}{done.stderr}")
        self.await_rest()

    def await_rest(self) -> None:
        """nginx closes its idle connections after two seconds, and an idle process gives memory back."""
        seen, since = None, 0.0
        def rests() -> bool:
            nonlocal seen, since
            now = [(rollup(program)["Rss"] if self.memory else 0, descriptors(program)) for program in self.programs.values()]
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > REST_S
        wait_until(rests, 60, "rest")

    # --- what is measured ---

    def measure(self) -> dict[str, float]:
        self.expire_all()
        found: dict[str, float] = {}
        for name, program in self.programs.items():
            memory, threads = rollup(program), Path(f"/proc/{program.pid}/task")
            found |= {f"{name}-rss": memory["Rss"], f"{name}-anonymous": memory["Anonymous"],
                      f"{name}-fds": descriptors(program), f"{name}-threads": len(list(threads.iterdir()))}
        stream = self.key(f"queue:{QUEUE}")
        info = self.redis.call("INFO", "memory") + self.redis.call("INFO", "clients")
        numbers = dict(re.findall(r"(\w+):(\d+)", info))
        rows, guards = self.stack.pg_results.psql(
            "reports", "SELECT count(table_name), count(*) - count(table_name) FROM dungbeetle_results").split("|")
        sessions = self.stack.pg_source.psql(
            "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('ledger', 'reports') AND backend_type = 'client backend'")
        return found | {
            "redis-memory": int(numbers["used_memory"]), "redis-clients": int(numbers["connected_clients"]),
            "redis-keys": int(self.redis.call("DBSIZE")),
            "redis-stream": self.backlog() + int(self.redis.call("XPENDING", stream, "workers")[0])
            + int(self.redis.call("ZCARD", self.key("scheduled"))) + int(self.redis.call("ZCARD", self.key(f"waiting:{QUEUE}"))),
            "result-tables": self.tables(), "registry-rows": int(rows), "registry-guards": int(guards),
            "source-sessions": int(sessions),
        }

    def check_ends(self) -> str:
        """Every accepted job has ended, and as it should."""
        _, text, _ = http_request(self.stack.nginx.port, "GET", "/metrics")
        ends = {state: int(n) for state, n in
                re.findall(r'dungbeetle_jobs_finished_total\{task="bench_small",state="(\w+)"\} (\d+)', text)}
        good, bad = ends.pop("SUCCESS", 0), ends.pop("FAILURE", 0)
        deleted = self.posted - good - bad  # those that were deleted before their end
        if bad != 2 * self.rounds or not 0 <= deleted <= self.deleted or ends:
            raise BenchError(f"{self.posted} jobs, {good} SUCCESS, {bad} FAILURE, {self.deleted} deleted, others {ends}")
        return f"{self.posted} jobs: {good} SUCCESS, {bad} FAILURE, {deleted} deleted before their end"


def run(options: argparse.Namespace) -> int:
    first = max(ROUND, options.jobs // 10 // ROUND * ROUND) if not options.first else options.first
    with tempfile.TemporaryDirectory(prefix="dungbeetle-soak-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL's user goes through it
        with Soak(quick_place(Path(directory)), ROOT / options.bin_dir, options.ttl, options.memory) as soak:
            soak.post(first)
            before = soak.measure()
            soak.post(options.jobs)
            after = soak.measure()
            ends = soak.check_ends()
            seconds = time.monotonic() - soak.began
            print(f"{'name':<22} {f'at{first}':>12} {'atend':>12} {'ratio':>7} {'limit':>7}")
            ok = [line.show(before[line.name], after[line.name]) for line in lines(options)]
            print(f"{ends}; {seconds:.0f} s; at most {soak.peak_keys} keys in Redis, {soak.peak_tables} result tables (ttl {soak.ttl} s)")
    return 0 if all(ok) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default="bin", help="where our programs are")
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0, help="jobs before the first measurement; 0: a tenth")
    parser.add_argument("--ttl", type=int, default=10, help="seconds that results and states are kept")
    parser.add_argument("--slack", type=int, default=0, help="kB that memory may grow beside, for few jobs")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="for sanitized programs, whose memory is their own affair")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(parser.parse_args())
    except (BenchError, StackError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
