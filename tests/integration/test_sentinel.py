"""Redis that fails over: a master, two replicas and three Sentinels (promises 1 and 2).

Whatever was answered with 200 is done, whether the master is killed, stands still or is cut off from its replicas."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults_support import Gate, assert_idle, assert_no_strays, fault_options, figure
from redis_group import MASTER, SentinelStack
from stack import http_request
from support import SLOW, LiveStack, free_port, uid, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def make(make_stack: Callable[..., Any], stack: LiveStack) -> Callable[..., SentinelStack]:
    def made(**options: Any) -> SentinelStack:
        return make_stack(**fault_options(pg=stack.pg_source, kind=SentinelStack, **options))

    return made


class Clients:
    """Threads that POST one job after the other, each until it was accepted. With it: accepted = ids with their label."""

    def __init__(self, stack: LiveStack, threads: int = 4) -> None:
        self.port = stack.nginx.port
        self.accepted: dict[str, str] = {}
        self.refused = 0
        self.slowest = 0.0
        self.problems: list[Any] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive()

    def _work(self) -> None:
        while not self._stop.is_set():
            job_id = uid("posted")
            while not self._post(job_id) and not self._stop.is_set():
                self._stop.wait(0.05)
            self._stop.wait(0.01)

    def _post(self, job_id: str) -> bool:
        began = time.monotonic()
        try:
            status, body, headers = http_request(
                self.port, "POST", "/tasks/fault_quick/jobs", {"job_id": job_id, "args": [job_id]}, timeout=60.0)
        except OSError as problem:
            status, body, headers = 0, str(problem), {}
        took = time.monotonic() - began
        with self._lock:
            self.slowest = max(self.slowest, took)
            # 409: the first POST had been accepted, although its answer was a 503; now that is confirmed.
            if status in (200, 409):
                self.accepted[job_id] = job_id
                return True
            self.refused += 1
            if status != 503 or "retry-after" not in headers:
                self.problems.append((status, body))
        return False

    def await_accepted(self, n: int) -> None:
        """Until n more were accepted."""
        wanted = len(self.accepted) + n
        wait_until(lambda: len(self.accepted) >= wanted, 60 * SLOW, f"{n} more jobs to be accepted")


def assert_all_done(own: SentinelStack, clients: Clients, rows: dict[str, int]) -> None:
    """Each accepted job is SUCCESS with its own row, the others with so many rows; there is one table for each and no other."""
    assert not clients.problems, clients.problems[:5]
    for job_id, label in clients.accepted.items():
        job = own.wait(job_id, 60)
        assert (job["state"], job["count"]) == ("SUCCESS", 1), job
        assert own.rows(job_id) == [(label,)], job
    for job_id, n in rows.items():
        job = own.wait(job_id, 60)
        assert (job["state"], job["count"]) == ("SUCCESS", n), job
        assert own.query(f'SELECT count(*), count(DISTINCT n), min(n), max(n) FROM "results_{job_id}"') == [(n, n, 1, n)]
    assert_idle(own)
    # A POST of the last moment, answered with a 503, may have been accepted all the same: its table is one too.
    done = {key.removeprefix(own.key("job:")) for key in own.r.scan_iter(own.key("job:*"))}
    assert done >= {*clients.accepted, *rows}
    assert_no_strays(own, done)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_the_master_is_killed_and_nothing_that_was_accepted_is_lost(make, kind):
    """kill -9 of the master while jobs are queued, scheduled, running and being POSTed: each one that was answered with 200 is
    SUCCESS with its rows; and again when the old master has come back and the new one is killed."""
    own = make(group={"kind": kind}, workers=2, queues={"default": 3})
    rows: dict[str, int] = {}
    with Gate(own) as gate, Clients(own) as clients:
        for _ in range(2):
            old = own.group.await_master()
            for n in (50, 5_000):
                rows[own.submit_until("fault_gated", n, 1, gate.key)] = n
            gate.await_waiting(2)
            eta = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 2))
            later = own.submit_until("fault_quick", "later", eta=eta)
            clients.accepted[later] = "later"
            clients.await_accepted(30)
            own.group.servers[old].kill()
            killed = time.monotonic()
            own.group.await_master(other_than=old)
            promoted = time.monotonic() - killed
            clients.await_accepted(30)
            figure(f"sentinel {kind}: promoted, accepting again (s)", f"{promoted:.1f} {time.monotonic() - killed:.1f}")
            gate.open()
            for job in rows:
                own.wait(job, 60)
            gate.close()
            own.group.start_server(old)
            own.group.await_replica(old)
    figure(f"sentinel {kind}: accepted, refused, slowest answer (s)", f"{len(clients.accepted)} {clients.refused} {clients.slowest:.1f}")
    assert_all_done(own, clients, rows)


def test_the_master_stands_still_and_goes_on_as_a_replica(make):
    """SIGSTOP of the master: the others go on without it within bounded time; SIGCONT: it becomes a replica, and nobody
    believes it."""
    own = make(workers=2, queues={"default": 3}, config={"redis": {"timeout": "2s"}})
    old = own.group.await_master()
    rows: dict[str, int] = {}
    with Gate(own) as gate, Clients(own) as clients:
        for n in (50, 5_000):
            rows[own.submit_until("fault_gated", n, 1, gate.key)] = n
        gate.await_waiting(2)
        clients.await_accepted(30)
        own.group.servers[old].program.pause()
        stopped = time.monotonic()
        own.group.await_master(other_than=old)
        clients.await_accepted(30)
        figure("sentinel, stopped master: accepting again (s)", f"{time.monotonic() - stopped:.1f}")
        gate.open()
        for job in rows:
            own.wait(job, 60)
        own.group.servers[old].program.resume()
        own.group.await_replica(old)
        clients.await_accepted(30)
    figure("sentinel, stopped master: accepted, refused, slowest answer (s)", f"{len(clients.accepted)} {clients.refused} {clients.slowest:.1f}")
    # redis.timeout for what was on its way, redis.connect_timeout for a search, and as much again for bad luck.
    assert clients.slowest < 2 * (2 + 2) * SLOW
    assert_all_done(own, clients, rows)


def test_a_master_without_replicas_accepts_nothing(make):
    """Too few replicas: POST is a 503 with Retry-After (NOREPLICAS), what waits goes on waiting; with a replica all goes on."""
    own = make(group={"sentinels": 3, "settings": {"min_replicas_to_write": "1", "min_replicas_max_lag": "2"}})
    done = own.submit("fault_quick", "before")
    assert own.wait(done)["state"] == "SUCCESS"
    for i in (1, 2):
        own.group.servers[i].kill()
    wait_until(lambda: own.group.client(0).info("replication")["min_slaves_good_slaves"] == 0, 30 * SLOW, "the replicas to be missed")
    status, body, headers = own.request("POST", "/tasks/fault_quick/jobs", {"job_id": uid(), "args": ["x"]})
    assert status == 503, body
    assert "retry-after" in headers
    assert own.get(f"/jobs/{done}").status == 200  # reading goes on
    assert own.call("GET", "/health").status == 503
    own.group.start_server(1)
    wait_until(lambda: own.call("GET", "/health").status == 200, 60 * SLOW, "200 of GET /health")
    assert own.wait(own.submit("fault_quick", "after"))["state"] == "SUCCESS"


def test_what_no_replica_has_is_not_accepted(make):
    """The replicas hear nothing any more (SIGSTOP), the master does not know it yet: a POST, its repetition and a DELETE are
    503. The master dies: nothing that was answered with 200 is lost with it."""
    own = make(group={"settings": {"min_replicas_to_write": "0"}}, config={"redis": {"timeout": "1s"}}, queues={"other": 1})
    kept = own.submit("fault_quick", "kept", queue="waiting")
    for i in (1, 2):
        own.group.servers[i].program.pause()
    lost = uid("lost")
    for _ in range(2):
        status, body, headers = own.request("POST", "/tasks/fault_quick/jobs", {"job_id": lost, "queue": "waiting", "args": ["x"]})
        assert status == 503, body
        assert "0 of 1 replicas have confirmed" in body["message"]
        assert "retry-after" in headers
    status, body, _ = own.request("DELETE", f"/jobs/{kept}")
    assert status == 503, body
    own.group.servers[0].kill()
    for i in (1, 2):
        own.group.servers[i].program.resume()
    own.group.await_master(other_than=0)
    wait_until(lambda: own.call("GET", "/health").status == 200, 60 * SLOW, "200 of GET /health")
    # They had been sent all the same and were read late: or not. Either way a repetition is answered for good now.
    assert own.request("POST", "/tasks/fault_quick/jobs", {"job_id": lost, "queue": "waiting", "args": ["x"]})[0] in (200, 409)
    assert own.job(lost)["state"] == "PENDING"
    assert own.request("DELETE", f"/jobs/{kept}")[0] in (200, 404)


def test_a_cancel_is_heard_after_a_failover(make):
    """The worker listens to the new master: DELETE stops a query that has begun under the old one within a second or so."""
    own = make(queues={"default": 2})
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", 50, 1, gate.key)
        gate.await_waiting()
        own.group.servers[0].kill()
        own.group.await_master(other_than=0)
        wait_until(lambda: "redis has moved" in own.workers[0].log_text(), 60 * SLOW, "the worker to follow", own.workers)
        wait_until(lambda: own.listeners() > 0, 60 * SLOW, "the listener to subscribe")
        began = time.monotonic()
        wait_until(lambda: own.delete(f"/jobs/{job_id}").status in (200, 404), 30 * SLOW, "an answer to DELETE")
        wait_until(lambda: not gate.waiting(), 30 * SLOW, "the end of the query")
        assert time.monotonic() - began < 3 * SLOW
    assert_idle(own)


def test_passwords_of_redis_and_of_the_sentinels(make):
    """requirepass at both, database 1; no password in any log, and a wrong one is told."""
    own = make(group={"password": "redis-hunter2", "sentinel_password": "sentinel-hunter2"})
    assert own.wait(own.submit("fault_quick", "x"))["state"] == "SUCCESS"
    assert own.r.exists(own.key("runs"))
    own.config["redis"]["sentinel_password"] = "wrong-hunter2"
    own.write_config()
    done = own.check("dungbeetle-fcgi")
    assert done.returncode == 2
    assert "it refuses the password" in done.stderr
    own.config["redis"] |= {"sentinel_password": "sentinel-hunter2", "url": "redis://:wrong-hunter2@/1"}
    own.write_config()
    done = own.check("dungbeetle-worker")
    assert done.returncode == 2
    assert "WRONGPASS" in done.stdout
    logs = [program.log_text() for program in own.programs()] + [done.stdout, done.stderr]
    assert not [text for text in logs if "hunter2" in text]


def test_check_says_which_sentinel_knows_what(make):
    """--check finds Redis through its Sentinels; a name that none knows, or Sentinels that are not there, are told."""
    own = make()
    assert "redis: ok" in own.check("dungbeetle-worker").stdout.splitlines()
    done = own.check("dungbeetle-fcgi")
    assert done.returncode == 0, done.stderr
    own.config["redis"]["master"] = "another"
    own.write_config()
    done = own.check("dungbeetle-fcgi")
    assert done.returncode == 2
    assert "it knows no master 'another'" in done.stderr
    own.config["redis"] |= {"master": MASTER, "sentinels": [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]}
    own.write_config()
    done = own.check("dungbeetle-worker")
    assert done.returncode == 2
    assert "Connection refused" in done.stdout
