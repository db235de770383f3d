"""Tasks that may run on several sources: one is picked for each run, one that refuses connections is passed over."""

from __future__ import annotations

import socket
import threading

import pytest

from faults_support import Wire, hgetall, wait_state
from support import HERE, QUERIES, ROOT, SLOW, PostgresServer, free_port, wait_until

SEVERAL = HERE / "queries_several"
DIRECTORIES = [ROOT / "queries", QUERIES, SEVERAL]
FIRST_REST = 5.0  # seconds for which a source is left out, the first time (worker/health.h)


def several(sources, results=None):
    """The databases of the tasks of queries_several: those that are not given are the first one's."""
    default = next(iter(sources.values()))
    names = ("one", "two", "capped", "socket", "by_key", "by_file", "by_variable", "wrong")
    return {"sources": {**{name: default for name in names}, **sources}, "results": results or {}}


class Refuser:
    """Takes connections and hangs up: what a client sees of a source that refuses, with a count."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            client.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def results_of(own):
    return {name: {"type": "postgres", "dsn": own.pg_results.url(own._dbs["reports"])} for name in ("capped", "by_key", "by_file", "by_variable")}


def start(make_stack, pg, sources, **options):
    """A stack on another's PostgreSQL, with these sources."""
    own = make_stack(pg=pg, start=False, sql_directories=DIRECTORIES, queues={"default": 4}, **options)
    databases = several(sources, results_of(own))
    own.config["sources"].update(databases["sources"])
    own.config["results"].update(databases["results"])
    return own.start()


def source_of(server_or_port):
    port = server_or_port if isinstance(server_or_port, int) else server_or_port.port
    return {"type": "postgres", "dsn": f"postgresql://postgres@127.0.0.1:{port}/postgres", "connect_timeout": "2s"}


@pytest.fixture
def second(tmp_path_factory):
    """A PostgreSQL beside the stack's."""
    directory = tmp_path_factory.mktemp("second")
    for place in (directory, *directory.parents):
        if place.name.startswith("pytest"):
            place.chmod(0o755)
    server = PostgresServer(directory, fsync="off").start()
    yield server
    server.stop("immediate")


def ports(own, jobs):
    """Where the jobs ran. None of them has waited: each was run once."""
    found = []
    for job_id in jobs:
        job = own.wait(job_id)
        assert job["state"] == "SUCCESS", job
        assert hgetall(own, job_id)["attempt"] == "1", job
        found.append(own.rows(job_id)[0][0])
    return found


def test_no_job_waits_while_one_of_two_sources_is_stopped(make_stack, stack, second):
    """Both are used; one is stopped: all jobs run on the other, without a wait; it is back: both are used again."""
    here, there = stack.pg_source.port, second.port
    own = start(make_stack, stack.pg_source, {"one": source_of(here), "two": source_of(second)})
    assert set(ports(own, [own.submit("several_any", 0) for _ in range(24)])) == {here, there}
    second.stop("immediate")
    assert set(ports(own, [own.submit("several_any", 0) for _ in range(40)])) == {here}
    log = own.workers[0].log_text()
    assert log.count("source cannot be reached, others are used if there are any source=two") == 1, log
    assert "waits" not in log, log
    second.start()
    wait_until(lambda: there in ports(own, [own.submit("several_any", 0) for _ in range(4)]), 3 * FIRST_REST * SLOW, "a job on the source that is back")
    assert "source is back source=two" in own.workers[0].log_text()
    assert set(ports(own, [own.submit("several_any", 0) for _ in range(24)])) == {here, there}


def test_source_that_refuses_is_tried_seldom(make_stack, stack):
    """Hundreds of jobs in two rests of a source cost it a handful of connections."""
    refuser = Refuser()
    try:
        own = start(make_stack, stack.pg_source, {"one": source_of(stack.pg_source), "two": source_of(refuser.port)})
        jobs = []

        def went_on():
            jobs.extend(own.submit("several_any", 0) for _ in range(20))
            own.wait(jobs[-1])
            return "source=two" in own.workers[0].log_text()

        wait_until(went_on, 10, "the first refusal")
        first = refuser.count
        assert 1 <= first <= 4  # as many as there are slots
        wait_until(lambda: went_on() and refuser.count > first, 2 * FIRST_REST * SLOW, "the next try")
        assert refuser.count == first + 1
        jobs.extend(own.submit("several_any", 0) for _ in range(100))
        assert set(ports(own, jobs)) == {stack.pg_source.port}
        assert refuser.count == first + 1
    finally:
        refuser.close()


def test_pinned_source_is_always_tried(make_stack, stack):
    """`db` in the request: the job waits for that one, though another is there, and runs as soon as it is back."""
    wire = Wire(lambda: stack.pg_source.port)
    try:
        own = start(make_stack, stack.pg_source, {"one": source_of(stack.pg_source), "two": source_of(wire.port)})
        wire.cut()
        job_id = own.submit("several_any", 0, db="two")
        wait_state(own, job_id, "RETRY")
        assert "source 'two'" in own.job(job_id)["error"]
        wait_until(lambda: int(hgetall(own, job_id)["attempt"]) >= 3, FIRST_REST * SLOW, "three attempts, its rest notwithstanding")
        wire.mend()
        assert own.wait(job_id)["state"] == "SUCCESS"
    finally:
        wire.close()


def test_jobs_wait_when_all_sources_are_down(make_stack, stack):
    """Both refuse: the job waits in RETRY and spends no retry; when one is back it runs there."""
    wires = [Wire(lambda: stack.pg_source.port) for _ in range(2)]
    try:
        own = start(make_stack, stack.pg_source, {"one": source_of(wires[0].port), "two": source_of(wires[1].port)})
        for wire in wires:
            wire.cut()
        jobs = [own.submit("several_any", 0) for _ in range(5)]
        for job_id in jobs:
            wait_state(own, job_id, "RETRY")
        wires[1].mend()
        for job_id in jobs:
            assert own.wait(job_id)["state"] == "SUCCESS"
            assert hgetall(own, job_id).get("retried", "0") == "0"
    finally:
        for wire in wires:
            wire.close()
