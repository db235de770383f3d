"""Workers that die, stop breathing, or come back too late (promises 1, 2, 4)."""

from __future__ import annotations

import time

import psycopg
import pytest

from faults_support import LEASE, Gate, assert_idle, assert_no_strays, elapsed, fault_options, figure, fingerprint, hgetall
from support import SLOW, uid, wait_until

ROWS = 5_000  # a large result: it is streamed


@pytest.fixture
def two(make_stack, stack):
    """Two workers with two slots each; the job is always begun by `first`, while `second` is paused."""
    return make_stack(**fault_options(pg=stack.pg_source, workers=2))


def start_on_first(two, gate, job_id, rows=ROWS, at=ROWS // 2):
    """Begins a job on worker-0 and lets it come to the gate; then worker-1 is let go."""
    second = two.workers[1]
    second.pause()
    two.submit("fault_gated", rows, at, gate.key, job_id=job_id)
    gate.await_waiting()
    job = hgetall(two, job_id)
    if job["worker"] != "worker-0":  # the entry went to a read of worker-1 that was blocked already: the other way round then
        two.workers.reverse()
        two.workers[1].pause()
    second.resume()
    two.workers[1].resume()
    return two.workers[0], two.workers[1], job


@pytest.mark.parametrize("rows", [50, ROWS], ids=["small", "streamed"])
def test_job_of_a_killed_worker_is_done_by_another_within_the_lease(two, rows):
    """kill -9 in mid-query: another worker has taken the job over within the lease + 2 s; one table, the right rows."""
    with Gate(two) as gate:
        job_id = uid("killed")
        two.submit("fault_gated", rows, rows // 2, gate.key, job_id=job_id)
        gate.await_waiting()
        before = hgetall(two, job_id)
        victim = next(worker for worker in two.workers if worker.name == before["worker"])
        killed = time.monotonic()
        victim.kill()
        gate.open()
        job = two.wait(job_id, LEASE + 2)
        took = time.monotonic() - killed
        figure(f"takeover after kill -9, lease {LEASE:.0f} s, {rows} rows", f"{took:.3f} s")
        assert took < LEASE + 2 * SLOW
        assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 2, rows), job
        assert job["worker"] != victim.name
        assert [n for n, *_ in two.rows(job_id)] == list(range(1, rows + 1))
        assert int(hgetall(two, job_id)["retried"] if "retried" in hgetall(two, job_id) else 0) == 0
    assert_idle(two)
    assert_no_strays(two, {job_id})


def test_job_of_a_killed_worker_is_done_by_the_restarted_one(make_stack, stack):
    """kill -9 of the only worker: the one that is started in its place does the job when the lease is over."""
    one = make_stack(**fault_options(pg=stack.pg_source))
    with Gate(one) as gate:
        job_id = one.submit("fault_gated", ROWS, ROWS // 2, gate.key)
        gate.await_waiting()
        killed = time.monotonic()
        one.workers[0].kill()
        gate.open()
        one.workers[0].start()
        job = one.wait(job_id, LEASE + 2)
        figure(f"restarted worker takes over, lease {LEASE:.0f} s", elapsed(killed))
        assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 2, ROWS), job
        assert one.count(job_id) == ROWS
    assert_idle(one)
    assert_no_strays(one, {job_id})


def test_query_of_a_killed_worker_ends_in_the_source(make_stack, stack):
    """kill -9 of a worker: its query is gone from the source within a few seconds (client_connection_check_interval)."""
    one = make_stack(**fault_options(pg=stack.pg_source))
    job_id = one.submit("fault_sleep", "x", 60)
    wait_until(lambda: one.running_query(job_id), 15, "the query")
    killed = time.monotonic()
    one.workers[0].kill()
    wait_until(lambda: not one.running_query(job_id), 5 * SLOW, "the end of the dead worker's query")
    figure("query of a dead worker gone", elapsed(killed))
    one.delete(f"/jobs/{job_id}")


@pytest.mark.parametrize("rows", [50, ROWS], ids=["small", "streamed"])
def test_killed_between_publish_and_acknowledge(make_stack, stack, rows):
    """kill -9 after the table was published and before Redis was told: the job is run again and is SUCCESS, one table."""
    one = make_stack(**fault_options(pg=stack.pg_source, worker={"lease": "6s"}))  # the lease stays certain for 4 s
    with Gate(one) as gate:
        job_id = one.submit("fault_gated", rows, 1, gate.key)
        gate.await_waiting()
        one.r.client_pause(30_000, all=False)
        gate.open()
        wait_until(lambda: (one.registry(job_id) or {}).get("table_name"), 10 * SLOW, "the registry row")
        first = fingerprint(one, job_id)
        one.workers[0].kill()
        for _ in range(5):
            one.r.ping()  # Redis has seen the end of the dead worker's connections, and has forgotten what they asked for
        one.r.client_unpause()
        assert hgetall(one, job_id)["state"] == "STARTED"
        one.workers[0].start()
        job = one.wait(job_id, 6 + 2)
        assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 2, rows), job
        second = fingerprint(one, job_id)
        assert second[0] != first[0], "the second run published nothing"
        assert second[1][0] == rows
        assert second[2] == int(hgetall(one, job_id)["run"])
    assert_idle(one)
    assert_no_strays(one, {job_id})


@pytest.mark.parametrize("rows", [50, ROWS], ids=["small", "streamed"])
def test_zombie_publishes_nothing(two, rows):
    """SIGSTOP in mid-query past the lease, another worker finishes; after SIGCONT the zombie changes nothing at all."""
    with Gate(two) as gate:
        job_id = uid("zombie")
        zombie, heir, _ = start_on_first(two, gate, job_id, rows, rows)
        stopped = time.monotonic()
        zombie.pause()
        wait_until(lambda: int(hgetall(two, job_id)["attempt"]) == 2, LEASE + 2 * SLOW, "the second run")
        figure(f"takeover after SIGSTOP, lease {LEASE:.0f} s", elapsed(stopped))
        gate.open()
        job = two.wait(job_id)
        assert (job["state"], job["worker"], job["count"]) == ("SUCCESS", heir.name, rows), job
        before, state = fingerprint(two, job_id), hgetall(two, job_id)
        zombie.resume()
        wait_until(lambda: "outcome=" in _lines(zombie, job_id) or "job lost" in _lines(zombie, job_id), 20 * SLOW, "the zombie's end of the job")
        assert "job lost" in _lines(zombie, job_id)
        assert fingerprint(two, job_id) == before
        assert hgetall(two, job_id) == state
        # It is of use again.
        heir.kill()
        assert two.succeed("fault_quick", "after")
    assert_no_strays(two, {job_id, *(name.removeprefix("results_") for name in two.tables() if job_id not in name)})


def test_zombie_wakes_while_the_new_run_is_going(two):
    """The zombie wakes up while its successor still runs: it publishes nothing, the successor is not disturbed."""
    with Gate(two) as gate:
        job_id = uid("zombie")
        zombie, heir, _ = start_on_first(two, gate, job_id)
        zombie.pause()
        gate.await_waiting(2)
        wait_until(lambda: int(hgetall(two, job_id)["attempt"]) == 2, 5, "the second run")
        state = hgetall(two, job_id)
        zombie.resume()
        wait_until(lambda: "job lost" in _lines(zombie, job_id), 20 * SLOW, "the zombie's end of the job")
        assert not two.has_table(job_id)
        assert hgetall(two, job_id) == state
        wait_until(lambda: len(gate.waiting()) == 1, 5 * SLOW, "the end of the zombie's query")
        gate.open()
        job = two.wait(job_id)
        assert (job["state"], job["attempt"], job["worker"], job["count"]) == ("SUCCESS", 2, heir.name, ROWS), job
        assert two.count(job_id) == ROWS
    assert_idle(two)
    assert_no_strays(two, {job_id})


def test_zombie_stopped_while_it_publishes_holds_up_nobody(two):
    """SIGSTOP in the midst of replacing a table: readers and the next run do not wait for the zombie, which loses."""
    job_id = uid("zombie")
    two.succeed("fault_gated", ROWS, 0, 0, job_id=job_id)
    with Gate(two) as gate:
        zombie, heir, _ = start_on_first(two, gate, job_id, ROWS + 1, 1)
        with two.db() as reader:
            reader.execute("BEGIN")
            reader.execute(f'SELECT count(*) FROM "results_{job_id}"')
            gate.open()
            wait_until(lambda: two.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s", f"%DROP TABLE%{job_id}%"),
                10 * SLOW, "the publication to wait for the reader")
            zombie.pause()
            stopped = time.monotonic()
            reader.execute("COMMIT")  # the server goes on with what the zombie has sent
        with two.db() as reader:
            reader.execute("SET statement_timeout = '8s'")
            try:
                counted = reader.execute(f'SELECT count(*) FROM "results_{job_id}"').fetchone()[0]
            except psycopg.errors.QueryCanceled:
                pytest.fail("readers wait for a worker that is stopped")
            assert counted in (ROWS, ROWS + 1)
        job = two.wait(job_id, LEASE + 8)
        figure("takeover of a run stopped while it publishes", elapsed(stopped))
        assert (job["state"], job["worker"], job["count"]) == ("SUCCESS", heir.name, ROWS + 1), job
        before, state = fingerprint(two, job_id), hgetall(two, job_id)
        zombie.resume()
        wait_until(lambda: "job lost" in _lines(zombie, job_id), 20 * SLOW, "the zombie's end of the job")
        assert fingerprint(two, job_id) == before
        assert hgetall(two, job_id) == state
    assert_no_strays(two, {job_id})


def test_job_that_kills_its_workers_is_a_failure(make_stack, stack):
    """A job whose worker died max_deliveries times is FAILURE with that reason, whatever its retries; others go on."""
    one = make_stack(**fault_options(pg=stack.pg_source, worker={"max_deliveries": 3}))
    with Gate(one) as gate:
        job_id = one.submit("fault_gated", 10, 1, gate.key, retries=5)
        for n in range(1, 4):
            gate.await_waiting()
            wait_until(lambda n=n: int(hgetall(one, job_id)["attempt"]) == n, 5, f"run {n}")
            one.workers[0].kill()
            wait_until(lambda: not gate.waiting(), 10 * SLOW, "the end of the dead worker's query")
            one.workers[0].start()
        job = one.wait(job_id, LEASE + 2)
        assert job["state"] == "FAILURE", job
        assert "3 workers died" in job["error"], job
        assert not one.has_table(job_id)
    one.succeed("fault_quick", "others go on")
    assert_idle(one)


def test_long_query_is_not_taken_for_dead(two):
    """A query three leases long runs once: the keeper renews its lease."""
    job = two.run("fault_sleep", "long", LEASE * 3)
    assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job


def _lines(program, job_id):
    return "\n".join(line for line in program.log_text().splitlines() if job_id in line)


def test_entries_handed_to_a_stopped_idle_worker(make_stack, stack):
    """SIGSTOP of an idle worker, to whose blocked reads Redis then hands jobs: others do them within the lease + 2 s, and
    after SIGCONT it does none of them again."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, queues={"default": 4}))
    wait_until(lambda: len(own.r.xinfo_consumers(own.key("queue:default"), "workers")) == 8, 10 * SLOW, "all slots to wait")
    sleeper, heir = own.workers
    sleeper.pause()
    jobs = [own.submit("fault_label", 2_000 if n % 2 else 20, n, 0) for n in range(12)]
    asked = time.monotonic()
    handed = [p["consumer"] for p in own.r.xpending_range(own.key("queue:default"), "workers", "-", "+", 20)]
    assert any(consumer.startswith("worker-0") for consumer in handed), handed
    for job_id in jobs:
        assert own.wait(job_id, LEASE + 2)["state"] == "SUCCESS"
    figure("jobs handed to a stopped idle worker done", elapsed(asked))
    before = [(hgetall(own, job_id), fingerprint(own, job_id)) for job_id in jobs]
    runs = own.r.get(own.key("runs"))
    sleeper.resume()
    wait_until(lambda: any(name.startswith(f"worker-0-{sleeper.pid}") for name in own.r.hkeys(own.key("workers"))), 10 * SLOW, "a beat")
    heir.pause()
    own.succeed("fault_quick", "the sleeper works again")
    heir.resume()
    assert [(hgetall(own, job_id), fingerprint(own, job_id)) for job_id in jobs] == before
    assert int(own.r.get(own.key("runs"))) == int(runs) + 1
    assert_idle(own)
