"""What the fault tests share: gates in queries, a wire that can be cut, threads of clients, figures."""

from __future__ import annotations

import itertools
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from support import HERE, QUERIES, ROOT, SLOW, LiveStack, Program, free_port, table_name, wait_until
from stack import Nginx, http_request

QUERIES_FAULTS = HERE / "queries_faults"
SQL_DIRECTORIES = [ROOT / "queries", QUERIES, QUERIES_FAULTS]
LEASE = 2.0 if SLOW == 1 else 4.0  # seconds, as LEASE_TEXT
LEASE_TEXT = f"{LEASE:.0f}s"
FAULT_JOBS = int(os.environ.get("FAULT_JOBS", "0"))  # of each storm; 0: as many as end in about half a minute

_keys = itertools.count(10_000 + os.getpid() % 1000 * 1000)


def figure(name: str, text: Any) -> None:
    """A measured figure: on standard output (pytest -s, -rP), and behind the others in the file FAULT_FIGURES."""
    line = f"{name}: {text}"
    print(line)
    if path := os.environ.get("FAULT_FIGURES"):
        with Path(path).open("a") as out:
            out.write(line + "\n")


def fault_options(**options: Any) -> dict[str, Any]:
    """Options of make_stack: the fault tasks and a short lease, for a stack of the test's own."""
    worker = {"lease": LEASE_TEXT, **options.pop("worker", {})}
    config = {**options.pop("config", {})}
    config["worker"] = {**worker, **config.get("worker", {})}
    return {"sql_directories": SQL_DIRECTORIES, "config": config, "queues": {"default": 2}, **options}


class Gate:
    """Queries of the gated tasks wait at it until open(). close() shuts it again. Use: with Gate(stack) as gate."""

    def __init__(self, stack: LiveStack) -> None:
        self.stack = stack
        self.key = next(_keys)
        self.connection = stack.db("ledger")
        self.close()

    def close(self) -> None:
        self.connection.execute("SELECT pg_advisory_lock(%s)", (self.key,))

    def open(self) -> None:
        self.connection.execute("SELECT pg_advisory_unlock(%s)", (self.key,))

    def waiting(self) -> list[int]:
        """The backends that wait at the gate."""
        with self.stack.db("ledger") as look:
            return [pid for (pid,) in look.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s", (self.key,))]

    def await_waiting(self, n: int = 1, timeout: float = 15.0) -> list[int]:
        return wait_until(lambda: (pids if len(pids := self.waiting()) >= n else None), timeout * SLOW, f"{n} queries at the gate")

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class Wire:
    """A TCP proxy to `port`: cut() breaks what is connected and refuses what comes; stall() accepts and says nothing."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.target = target
        self.port = free_port()
        self.mode = "up"
        self._listener: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket | None]] = []
        self._lock = threading.Lock()
        self.mend()

    def url(self, db: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{db}"

    def mend(self) -> None:
        """Works (again)."""
        self.mode = "up"
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        self.mode = "cut"
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self._break()

    def stall(self) -> None:
        self.mode = "stall"
        self._break()

    close = cut

    def _break(self) -> None:
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    if end is not None:
                        end.close() if end.fileno() < 0 else _shut(end)
            self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.mode == "stall":
                with self._lock:
                    self._pairs.append((client, None))
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target()))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _pump(a: socket.socket, b: socket.socket) -> None:
    try:
        while True:
            for end in select.select([a, b], [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                (b if end is a else a).sendall(data)
    except OSError:
        pass
    finally:
        for end in (a, b):
            _shut(end)
            end.close()


class Crowd:
    """Threads that do `work(number of the thread, stop event)`; the first exception is raised by join()."""

    def __init__(self, n: int, work: Callable[[int, threading.Event], None]) -> None:
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work, i), daemon=True) for i in range(n)]
        for thread in self._threads:
            thread.start()

    def _run(self, work: Callable[[int, threading.Event], None], i: int) -> None:
        try:
            work(i, self.stop)
        except BaseException as error:
            self.errors.append(error)
            self.stop.set()

    def join(self, timeout: float = 60.0) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a client thread hangs"
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop.set()
        if kind is None:
            self.join()


def door_to(stack: LiveStack, i: int) -> Nginx:
    """A second nginx before the stack's i-th FastCGI process alone; stop() it."""
    return Nginx(stack.dir / f"nginx-{i}", free_port(), [stack.fcgi_sockets[i]]).start()


def kill_and_restart(worker: Program) -> None:
    """SIGKILL, and a new process of the same name. From the main thread: see Program."""
    worker.kill()
    worker.start()


def insist(stack: LiveStack, method: str, path: str, body: Any = None, timeout: float = 30.0) -> tuple[int, Any]:
    """Asks again as long as the service says that it cannot now (a part of it is down)."""
    def ask() -> tuple[int, Any] | None:
        try:
            status, answer, _ = http_request(stack.nginx.port, method, path, body)
        except OSError:
            return None
        return None if status in (502, 503, 504) else (status, answer)
    return wait_until(ask, timeout * SLOW, f"an answer of {method} {path}")


def post_surely(stack: LiveStack, task: str, job_id: str, args: list[str], **fields: Any) -> None:
    """POSTs until it is known that the job was accepted; 409: the first answer was lost on its way."""
    status, answer = insist(stack, "POST", f"/tasks/{task}/jobs", {"job_id": job_id, "args": args, **fields})
    assert status in (200, 409), answer


def hgetall(stack: LiveStack, job_id: str) -> dict[str, str]:
    return dict(stack.r.hgetall(stack.key(f"job:{job_id}")))  # type: ignore[arg-type]


def wait_state(stack: LiveStack, job_id: str, *states: str, timeout: float = 15.0) -> dict[str, str]:
    """Waits in Redis itself, to the millisecond, for one of the states."""
    return wait_until(lambda: (job if (job := hgetall(stack, job_id)).get("state") in states else None),
                      timeout * SLOW, f"{states} of {job_id}")


def oid(stack: LiveStack, job_id: str, db: str = "reports") -> int | None:
    return stack.query("SELECT to_regclass(quote_ident(%s))::oid::bigint", f"results_{job_id}", db=db)[0][0]


def fingerprint(stack: LiveStack, job_id: str, db: str = "reports") -> tuple[Any, ...]:
    """Which table it is, who wrote its rows, and what the registry says: changes with every publication."""
    rows = stack.query(sql.SQL("SELECT count(*), min(xmin::text), max(xmin::text), bit_xor(hashtextextended(t::text, 0)) FROM {} t").format(
        table_name(job_id)), db=db)[0]
    row = stack.registry(job_id, db) or {}
    return oid(stack, job_id, db), rows, row.get("run"), row.get("created_at")


def assert_idle(stack: LiveStack, queues: tuple[str, ...] = ("default",)) -> None:
    """Nothing is left in Redis of jobs that have ended: streams empty, nothing pending, waiting or scheduled."""
    for queue in queues:
        stream = stack.key(f"queue:{queue}")
        wait_until(lambda s=stream: stack.r.xlen(s) == 0, 10, f"an empty {stream}")
        assert stack.r.xpending(stream, "workers")["pending"] == 0
        assert stack.r.zcard(stack.key(f"waiting:{queue}")) == 0
    assert stack.r.zcard(stack.key("scheduled")) == 0


def assert_no_strays(stack: LiveStack, job_ids: set[str], db: str = "reports") -> None:
    """After dungbeetle-expire the database holds the tables of these jobs and no other, each with its registry row."""
    done = stack.expire()
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.tables(db) == {f"results_{job}" for job in job_ids}
    registered = {table for (table,) in stack.query("SELECT table_name FROM dungbeetle_results WHERE table_name IS NOT NULL", db=db)}
    assert registered == {f"results_{job}" for job in job_ids}


def memory_peak(pid: int) -> int:
    """VmHWM in bytes."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


class Reader:
    """Counts the rows of a result table all the time, each time in a statement of its own; what it saw is in `seen`."""

    def __init__(self, stack: LiveStack, job_id: str, db: str = "reports") -> None:
        self.seen: dict[Any, int] = {}
        self._query = sql.SQL("SELECT count(*), count(DISTINCT label), min(label) FROM {}").format(table_name(job_id))
        self._connection = stack.db(db)
        self._crowd = Crowd(1, self._work)

    def _work(self, _: int, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                found: Any = self._connection.execute(self._query).fetchone()
            except psycopg.errors.UndefinedTable:
                found = "no table"
            self.seen[found] = self.seen.get(found, 0) + 1

    def end(self) -> dict[Any, int]:
        self._crowd.join()
        self._connection.close()
        return self.seen


def elapsed(since: float) -> str:
    return f"{time.monotonic() - since:.3f} s"
