"""Cancels and deletes: at once, for good, and never the next job's (promises 2, 5)."""

from __future__ import annotations

import statistics
import time

import pytest

from faults_support import Gate, assert_idle, door_to, fault_options, figure, hgetall, wait_state
from stack import http_request
from support import SLOW, uid, wait_until


@pytest.fixture(scope="module")
def pair(make_module_stack, stack):
    """Two FastCGI processes, one worker with a single slot in `default` and one in `other`."""
    return make_module_stack(**fault_options(pg=stack.pg_source, fcgi=2, queues={"default": 1, "other": 1}))


def test_cancel_through_another_process_stops_the_query_within_a_second(pair):
    """DELETE by another FastCGI process than the one that took the job: gone from pg_stat_activity within 1 s, 20 times."""
    first, second = door_to(pair, 0), door_to(pair, 1)
    look = pair.db("ledger")
    took = []
    try:
        for n in range(20):
            job_id = uid("cancel")
            assert http_request(first.port, "POST", "/tasks/fault_sleep/jobs", {"job_id": job_id, "args": ["x", "60"]})[0] == 200
            active = lambda: look.execute("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND application_name LIKE %s"
                                          " AND wait_event = 'PgSleep'", (f"%{job_id}%",)).fetchall()
            wait_until(active, 10 * SLOW, "the running query")
            asked = time.monotonic()
            assert http_request(second.port, "DELETE", f"/jobs/{job_id}")[0] == 200
            wait_until(lambda: not active(), 10, "the end of the query")
            took.append(time.monotonic() - asked)
            assert http_request(first.port, "GET", f"/jobs/{job_id}")[0] == 404
            assert http_request(second.port, "GET", f"/jobs/{job_id}")[0] == 404
            assert not pair.has_table(job_id)
        figure("cancel through another FastCGI process, ms",
               f"median {statistics.median(took) * 1000:.1f}, max {max(took) * 1000:.1f} of {len(took)}")
        assert max(took) < 1 * SLOW, took
        assert statistics.median(took) < 0.05 * SLOW, took  # the slot's next cancel does not wait for the last one's repetition
        assert pair.succeed("fault_quick", "the slot works on")
    finally:
        look.close()
        first.stop()
        second.stop()
    assert_idle(pair, ("default", "other"))
    assert pair.r.hlen(pair.key("purges")) == 0 or wait_until(lambda: pair.r.hlen(pair.key("purges")) == 0, 10, "no purge left")


def test_cancel_while_no_worker_listens_is_found_within_a_second(make_stack, stack):
    """Its message is lost: the subscription was cut a moment ago. Who listens again asks for what it has missed."""
    pair = make_stack(**fault_options(pg=stack.pg_source, worker={"lease": "30s"}))
    for _ in range(3):
        job_id = pair.submit("fault_sleep", "x", 60)
        wait_until(lambda job_id=job_id: pair.running_query(job_id), 10 * SLOW, "the running query")
        assert pair.r.client_kill_filter(_type="pubsub")
        asked = time.monotonic()
        pair.delete(f"/jobs/{job_id}")
        wait_until(lambda job_id=job_id: not pair.running_query(job_id), 10, "the end of the query")
        assert time.monotonic() - asked < 1 * SLOW


def test_cancel_in_the_midst_of_rows(pair):
    """A cancel while rows stream (COPY and row by row) ends the run at once, leaves no table, and the slot is free."""
    for task, args in (("fault_many_copied_2500", ()), ("fault_many_args", (2500,))):
        job_id = pair.submit(task, *args)
        wait_until(lambda: pair.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND state = 'active'",
                                      "%COPY \"dungbeetle_staging%"), 15 * SLOW, "the stream")
        asked = time.monotonic()
        assert pair.delete(f"/jobs/{job_id}").status == 200
        next_id = pair.submit("fault_quick", "next")
        assert pair.wait(next_id)["state"] == "SUCCESS"
        assert time.monotonic() - asked < 2 * SLOW
        assert not pair.has_table(job_id)
        assert not pair.running_query(job_id)
    wait_until(lambda: not [name for name in pair.tables() if "staging" in name], 5, "no staging table")
    assert_idle(pair)


def test_cancel_finds_no_wrong_job(pair):
    """A late cancel never hits the next job on the same slot: 60 times a running job is deleted while the next waits."""
    for n in range(60):
        victim = pair.submit("fault_sleep", "victim", 30)
        wait_state(pair, victim, "STARTED")
        heirs = [pair.submit("fault_quick", i) for i in range(2)]
        assert pair.delete(f"/jobs/{victim}").status == 200
        for heir in heirs:
            job = pair.wait(heir)
            assert (job["state"], job["attempt"]) == ("SUCCESS", 1), (n, job)
    assert_idle(pair)


def test_cancel_at_the_very_end_finds_no_wrong_job(pair):
    """The same with jobs that end just when they are cancelled: each is done or gone, and never the next one's harm."""
    done = gone = 0
    for n in range(60):
        victim = pair.submit("fault_sleep", "victim", 0.02)
        heir = pair.submit("fault_sleep", "heir", 0.03)
        wait_state(pair, victim, "STARTED", "SUCCESS")
        wait_until(lambda begun=time.monotonic(), pause=0.004 * (n % 12): time.monotonic() - begun >= pause, 1)
        status = pair.delete(f"/jobs/{victim}").status
        assert status in (200, 409)
        job = pair.wait(heir)
        assert (job["state"], job["attempt"]) == ("SUCCESS", 1), (n, job)
        if status == 200:
            gone += 1
            assert pair.get(f"/jobs/{victim}").status == 404
            wait_until(lambda: not pair.has_table(victim), 5 * SLOW, "no table of a deleted job")
        else:
            done += 1
            assert pair.count(victim) == 1
    figure("deleted in time / just too late", f"{gone} / {done}")
    assert_idle(pair)


def test_deleted_job_in_the_queue_never_runs(pair):
    """A job deleted while it waits is never begun, and the entries behind it move up."""
    with Gate(pair) as gate:
        holder = pair.submit("fault_gated", 1, 1, gate.key)
        gate.await_waiting()
        waiting = [pair.submit("fault_quick", i) for i in range(5)]
        for job_id in waiting[:4]:
            assert pair.delete(f"/jobs/{job_id}").status == 200
        gate.open()
        assert pair.wait(waiting[4])["state"] == "SUCCESS"
        assert pair.wait(holder)["state"] == "SUCCESS"
        for job_id in waiting[:4]:
            assert pair.get(f"/jobs/{job_id}").status == 404
            assert not pair.has_table(job_id)
    assert_idle(pair)


@pytest.mark.parametrize("rows", [50, 5_000], ids=["small", "streamed"])
def test_delete_of_a_stopped_workers_job(make_stack, stack, rows):
    """DELETE while the worker is stopped (SIGSTOP): 404 at once; when the worker goes on, nothing of the job appears."""
    one = make_stack(**fault_options(pg=stack.pg_source))
    with Gate(one) as gate:
        job_id = one.submit("fault_gated", rows, rows, gate.key)
        gate.await_waiting()
        worker = one.workers[0]
        worker.pause()
        assert one.delete(f"/jobs/{job_id}").status == 200
        assert one.get(f"/jobs/{job_id}").status == 404
        gate.open()
        worker.resume()
        wait_until(lambda: f"job lost job={job_id}" in worker.log_text(), 10 * SLOW, "the word that it is lost")
        wait_until(lambda: one.r.hlen(one.key("purges")) == 0, 10 * SLOW, "the purge")
        assert not one.has_table(job_id)
        one.succeed("fault_quick", "next")
    assert_idle(one)
    assert not one.running_query(job_id)


@pytest.mark.parametrize("stopped", [False, True], ids=["awake", "stopped"])
def test_delete_while_publishing(make_stack, stack, stopped):
    """DELETE while the run publishes (it waits for a reader of the old table), worker stopped or not: no table soon."""
    one = make_stack(**fault_options(pg=stack.pg_source))
    job_id = uid("publishing")
    one.succeed("fault_label", 2_000, "old", 0, job_id=job_id)
    with one.db() as reader:
        reader.execute("BEGIN")
        reader.execute(f'SELECT count(*) FROM "results_{job_id}"')
        one.submit("fault_label", 3_000, "new", 0, job_id=job_id)
        wait_until(lambda: one.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                     f"%DROP TABLE%{job_id}%"), 10 * SLOW, "the publication to wait for the reader")
        if stopped:
            one.workers[0].pause()
        assert one.delete(f"/jobs/{job_id}").status == 200
        assert one.get(f"/jobs/{job_id}").status == 404
        reader.execute("COMMIT")
    if stopped:
        wait_until(lambda: not one.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                         f"%{job_id}%"), 10 * SLOW, "the end of what the server was sent")
        one.workers[0].resume()
    gone = time.monotonic()
    wait_until(lambda: not one.has_table(job_id), 8 * SLOW, "no table of the deleted job")
    figure(f"table gone after a delete while publishing{', worker stopped' if stopped else ''}", f"{time.monotonic() - gone:.3f} s")
    wait_until(lambda: one.r.hlen(one.key("purges")) == 0, 10 * SLOW, "the purge")
    assert not one.has_table(job_id)
    one.succeed("fault_quick", "next")
    assert_idle(one)


def test_deleted_and_queued_again_under_the_same_id(pair):
    """DELETE of a running job and a POST of the same id at once: the new job's result is its own, 20 times."""
    for n in range(20):
        job_id = uid("again")
        pair.submit("fault_sleep", "old", 20, job_id=job_id)
        wait_state(pair, job_id, "STARTED")
        assert pair.delete(f"/jobs/{job_id}").status == 200
        pair.submit("fault_quick", f"new {n}", job_id=job_id)
        job = pair.wait(job_id)
        assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job
        assert pair.rows(job_id) == [(f"new {n}",)]
    wait_until(lambda: pair.r.hlen(pair.key("purges")) == 0, 10 * SLOW, "the purges")
    assert pair.rows(job_id) == [(f"new {n}",)], "an old purge took the new result"
    assert_idle(pair)


def test_purge_drops_the_table_within_5_s(pair):
    """DELETE with purge of finished jobs: state forgotten, tables gone within 5 s."""
    jobs = [pair.succeed("fault_quick", i) for i in range(5)]
    asked = time.monotonic()
    for job_id in jobs:
        assert pair.delete(f"/jobs/{job_id}").status == 409
        assert pair.delete(f"/jobs/{job_id}?purge=true").status == 200
    wait_until(lambda: not any(pair.has_table(job_id) for job_id in jobs), 5 * SLOW, "no table of a purged job")
    figure("purged tables gone", f"{time.monotonic() - asked:.3f} s")


@pytest.mark.parametrize("rows", [10, 20_000], ids=["small", "streamed"])
def test_a_run_that_has_been_purged_publishes_nothing_afterwards(pair, rows):
    """Its cancel may come late, or its worker not hear of it (laboratory, seed 3)."""
    with Gate(pair) as gate:
        job_id = pair.submit("fault_gated", rows, rows - 1, gate.key)
        gate.await_waiting()
        pair.r.hset(pair.key("purges"), job_id, f"{hgetall(pair, job_id)['run']} reports")
        wait_until(lambda: not pair.r.exists(pair.key("purges")), 10 * SLOW, "the purge")
        gate.open()
        assert "a newer run" in pair.wait(job_id)["error"]
    assert not pair.has_table(job_id)
    assert pair.count(pair.succeed("fault_quick", 1, job_id=job_id)) > 0


def test_purge_outlives_the_worker_that_should_do_it(make_stack, stack):
    """DELETE with purge while no worker is alive: the next worker drops the table within 5 s of its start."""
    one = make_stack(**fault_options(pg=stack.pg_source))
    job_id = one.succeed("fault_label", 2_000, "x", 0)
    one.workers[0].kill()
    assert one.delete(f"/jobs/{job_id}?purge=true").status == 200
    assert one.has_table(job_id)
    one.workers[0].start()
    wait_until(lambda: not one.has_table(job_id), 5 * SLOW, "no table of a purged job")
    assert one.r.hlen(one.key("purges")) == 0 or wait_until(lambda: one.r.hlen(one.key("purges")) == 0, 5, "no purge left")
