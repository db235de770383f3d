"""Deploys are quiet: drain of workers, graceful stop of FastCGI processes, reload of nginx (promises 1, 8, 9)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time

import pytest

from faults_support import Crowd, Gate, assert_idle, elapsed, fault_options, figure, hgetall
from support import SLOW, uid, wait_until


def consumers(stack, queue="default"):
    return {c["name"]: c for c in stack.r.xinfo_consumers(stack.key(f"queue:{queue}"), "workers")}


def test_drain_finishes_what_runs_and_claims_nothing_new(make_stack, stack):
    """SIGTERM: running jobs end in SUCCESS, what waits stays for others, exit status 0, no consumer and no beat left."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    worker = own.workers[0]
    with Gate(own) as gate:
        running = [own.submit("fault_gated", rows, 1, gate.key) for rows in (50, 5_000)]
        gate.await_waiting(2)
        worker.terminate()
        wait_until(lambda: "draining" in worker.log_text(), 5 * SLOW, "the drain")
        waiting = [own.submit("fault_quick", n) for n in range(3)]
        gate.open()
        assert worker.wait(10 * SLOW) == 0
    for job_id in running:
        job = own.job(job_id)
        assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job
    assert {own.job(job_id)["state"] for job_id in waiting} == {"PENDING"}
    assert consumers(own) == {}
    assert own.r.hlen(own.key("workers")) == 0
    worker.start()
    for job_id in waiting:
        assert own.wait(job_id)["attempt"] == 1
    assert_idle(own)


def test_idle_worker_stops_at_once(make_stack, stack):
    """SIGTERM of an idle worker: gone within a second, exit status 0."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    asked = time.monotonic()
    own.workers[0].terminate()
    assert own.workers[0].wait(2 * SLOW) == 0
    figure("an idle worker stops in", elapsed(asked))
    assert consumers(own) == {}


def test_a_worker_stops_at_once_although_a_results_server_holds_up_its_janitor(make_stack, stack):
    """A statement of the janitor does not come back: nobody waits for it. Exit status 0, nothing left in Redis."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dungbeetle_recovered'::regclass"
    with own.db() as holder, own.db() as looker:
        wait_until(lambda: looker.execute("SELECT to_regclass('dungbeetle_recovered') IS NOT NULL").fetchone()[0], 10 * SLOW, "the table")
        holder.execute("BEGIN; LOCK TABLE dungbeetle_recovered")
        wait_until(lambda: looker.execute(waiting).fetchone() == (1,), 10 * SLOW, "the janitor's statement")
        asked = time.monotonic()
        own.workers[0].terminate()
        assert own.workers[0].wait(5 * SLOW) == 0
        figure("a worker whose janitor is held up stops in", elapsed(asked))
    assert "worker stopped" in own.workers[0].log_text()
    assert consumers(own) == {}
    assert own.r.hlen(own.key("workers")) == 0


@pytest.mark.parametrize("rows", [50, 5_000], ids=["small", "streamed"])
def test_drain_timeout_gives_the_job_back(make_stack, stack, rows):
    """Past drain_timeout the job goes back: PENDING, no retry spent, its place before later ones kept; another worker takes
    it over at once, not after the lease."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=1, queues={"default": 1}, worker={"lease": "30s", "drain_timeout": "500ms"}))
    first = own.workers[0]
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", rows, rows, gate.key, retries=1)
        gate.await_waiting()
        later = [own.submit("span", 0) for _ in range(3)]
        first.terminate()
        assert first.wait(8 * SLOW) == 0
        job = hgetall(own, job_id)
        assert job["state"] == "PENDING", job
        assert int(job.get("retried", 0)) == 0
        assert [entry["ID"] for entry in own.get("/jobs/queue/default").data] == [job_id, *later]
        wait_until(lambda: not gate.waiting(), 5 * SLOW, "the end of the first run's query")
        assert {name: c["pending"] for name, c in consumers(own).items()} in ({}, {"returned": 1})
        gate.open()
        begun = time.monotonic()
        own.worker("worker-1")
        job = own.wait(job_id, 5)
        took = time.monotonic() - begun
        figure("job that was given back done by a new worker", f"{took:.3f} s")
        assert took < 3 * SLOW
        assert (job["state"], job["worker"], job["count"]) == ("SUCCESS", "worker-1", rows), job
        assert own.count(job_id) == rows
    ended = [hgetall(own, j)["started_at"] for j in [job_id, *later] if own.wait(j)]
    assert ended == sorted(ended), "the job that was given back lost its place"
    assert_idle(own)


def test_given_back_job_goes_to_a_worker_that_lives_already(make_stack, stack):
    """The same while another worker is idle: it takes the job over within a second."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, worker={"lease": "30s", "drain_timeout": "300ms"}))
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", 5_000, 1, gate.key)
        gate.await_waiting()
        leaver = next(w for w in own.workers if w.name == hgetall(own, job_id)["worker"])
        leaver.terminate()
        wait_until(lambda: hgetall(own, job_id)["state"] == "PENDING", 8 * SLOW, "PENDING")
        given_back = time.monotonic()
        wait_until(lambda: hgetall(own, job_id)["state"] == "STARTED", 5 * SLOW, "the new run")
        took = time.monotonic() - given_back
        figure("job given back by a drain taken over", f"{took:.3f} s")
        assert took < 1 * SLOW
        gate.open()
        assert own.wait(job_id)["count"] == 5_000
        assert leaver.wait(5 * SLOW) == 0
    assert_idle(own)


def test_second_signal_hurries(make_stack, stack):
    """A second SIGTERM does not wait for drain_timeout: the job is given back at once; exit status 0."""
    own = make_stack(**fault_options(pg=stack.pg_source, worker={"lease": "30s", "drain_timeout": "60s"}))
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", 50, 1, gate.key)
        gate.await_waiting()
        own.workers[0].terminate()
        wait_until(lambda: "draining" in own.workers[0].log_text(), 5 * SLOW, "the drain")
        asked = time.monotonic()
        own.workers[0].terminate()
        assert own.workers[0].wait(5 * SLOW) == 0
        figure("second SIGTERM to exit", elapsed(asked))
        assert hgetall(own, job_id)["state"] == "PENDING"
        own.workers[0].start()
        gate.open()
        assert own.wait(job_id)["state"] == "SUCCESS"
    assert_idle(own)


def test_rolling_restart_of_workers_loses_no_job_and_no_time(make_stack, stack):
    """Two workers restarted in turn (SIGTERM) six times while 200 jobs come: all SUCCESS at the first attempt."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, worker={"lease": "30s", "drain_timeout": "10s"}))
    jobs = []

    def submit(_, stop):
        for n in range(200):
            jobs.append(own.submit("fault_sleep", n, 0.01))
            if stop.wait(0.005):
                return

    crowd = Crowd(1, submit)
    for n in range(6):
        worker = own.workers[n % 2]
        worker.terminate()
        assert worker.wait(15 * SLOW) == 0
        worker.start()
        own.wait_worker(worker)
    wait_until(lambda: len(jobs) == 200 or crowd.errors, 30 * SLOW, "all jobs sent")
    crowd.join()
    for job_id in jobs:
        job = own.wait(job_id)
        assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job
    assert_idle(own)


# ---------------------------------------------------------------------------------------------------------------------
# The front: constant traffic while processes are replaced


class Traffic:
    """Clients that POST jobs and GET them through nginx, each request on a connection of its own or (kept) on one that is
    kept. accepted: the jobs whose POST got its 200; unsure: those whose POST got something else, told in `wrong`."""

    def __init__(self, stack, clients=4, kept=True):
        self.stack, self.kept = stack, kept
        self.accepted: set[str] = set()
        self.unsure: set[str] = set()
        self.requests = 0
        self.wrong: list[tuple[str, str, int, object]] = []
        self._lock = threading.Lock()
        self._crowd = Crowd(clients, self._work)

    def _work(self, _, stop):
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.nginx.port, timeout=20)
        while not stop.is_set():
            job_id = uid("traffic")
            body = json.dumps({"job_id": job_id, "args": ["x"]})
            ok = self._ask(connection, "POST", "/tasks/fault_parked/jobs", body)
            with self._lock:
                (self.accepted if ok else self.unsure).add(job_id)
            if ok:
                self._ask(connection, "GET", f"/jobs/{job_id}", None)
        connection.close()

    def _ask(self, connection, method, path, body):
        headers = {"Content-Type": "application/json"} if body else {}
        if not self.kept:
            headers["Connection"] = "close"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text, status = response.read(), response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            text, status = repr(error), 0
        with self._lock:
            self.requests += 1
            if status != 200:
                self.wrong.append((method, path, status, text))
        return status == 200

    def await_more(self, n):
        """Until n more jobs were accepted."""
        before = len(self.accepted)
        wait_until(lambda: len(self.accepted) >= before + n, 20 * SLOW, "traffic")

    def end(self):
        """Stops the clients; each POST that got its 200 is one job in Redis, none is double, none comes from nowhere."""
        self._crowd.join()
        queued = [fields["job"] for _, fields in self.stack.r.xrange(self.stack.key("queue:parked"))]
        assert len(queued) == len(set(queued)), "a POST was done twice"
        assert self.accepted <= set(queued), "an accepted job is lost"
        assert set(queued) <= self.accepted | self.unsure

    def end_without_fault(self):
        """The same, and every request got its 200."""
        self.end()
        assert not self.wrong, (self.requests, self.wrong[:5])
        return self.requests


def test_fcgi_replaced_under_traffic(make_stack, stack):
    """Five times a FastCGI process is replaced by a new one on the same socket path (start the new, SIGTERM the old) under
    constant traffic of 4 clients: every request gets its 200, each POST is one job."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0))
    traffic = Traffic(own)
    stops = []
    for n in range(5):
        new = own._program(f"fcgi-new-{n}", "dungbeetle-fcgi", "--socket", own.fcgi_sockets[0])
        old = own.fcgi[0]
        own.fcgi.insert(0, new)  # both are stopped with the stack, whatever happens here
        new.start()
        wait_until(lambda p=new: "ready" in p.log_text(), 10 * SLOW, "the new process")
        asked = time.monotonic()
        old.terminate()
        assert old.wait(12 * SLOW) == 0
        stops.append(time.monotonic() - asked)
        own.fcgi.remove(old)
        traffic.await_more(50)
    n = traffic.end_without_fault()
    figure("FastCGI processes replaced under traffic", f"5, each ended in {max(stops):.1f} s at most, {n} requests, all 200")


def test_one_of_two_fcgi_processes_restarted_under_traffic(make_stack, stack):
    """With two FastCGI processes, one at a time is stopped (SIGTERM) and started again: every request gets its 200."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0, fcgi=2))
    traffic = Traffic(own)
    for process in own.fcgi:
        process.terminate()
        assert process.wait(12 * SLOW) == 0
        process.start()
        wait_until(lambda p=process: p.log_text().count("ready") == 2, 10 * SLOW, "the process")
    traffic.await_more(50)
    traffic.end_without_fault()


def test_killed_fcgi_loses_no_accepted_job(make_stack, stack):
    """kill -9 of a FastCGI process under traffic: each POST that got its 200 is one job, none is double."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0))
    traffic = Traffic(own)
    for _ in range(3):
        traffic.await_more(50)
        own.fcgi[0].kill()
        own.fcgi[0].start()
        own.wait_ready()
    traffic.await_more(50)
    traffic.end()
    assert {status for _, _, status, _ in traffic.wrong} <= {502}, traffic.wrong[:5]


def test_killed_nginx_loses_no_accepted_job(make_stack, stack):
    """kill -9 of nginx, master and worker, under traffic: each POST that got its 200 is one job, none is double."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0))
    traffic = Traffic(own)
    for _ in range(2):
        traffic.await_more(50)
        os.killpg(own.nginx.program.pid, signal.SIGKILL)
        own.nginx.program.wait(10)
        own.nginx.start()
    traffic.await_more(50)
    traffic.end()


def test_nginx_reload_under_traffic(make_stack, stack):
    """nginx reloads its configuration (SIGHUP) 5 times under traffic on new connections: every request gets its 200."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0))
    traffic = Traffic(own, kept=False)
    for _ in range(5):
        own.nginx.reload()
        traffic.await_more(50)
    traffic.end_without_fault()


def test_nginx_reload_under_traffic_on_kept_connections(make_stack, stack):
    """The same with clients that keep connections: nginx may close an idle one just when a request is sent on it (the client
    sees that); no other fault, each POST that got its 200 is one job, and the others are none."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=0))
    traffic = Traffic(own)
    for _ in range(5):
        own.nginx.reload()
        traffic.await_more(50)
    traffic.end()
    assert {status for _, _, status, _ in traffic.wrong} <= {0}, traffic.wrong[:5]
    queued = {fields["job"] for _, fields in own.r.xrange(own.key("queue:parked"))}
    assert queued == traffic.accepted
    figure("kept connections of clients closed by 5 reloads of nginx", len(traffic.wrong))
