"""Source and results databases that die, hang, forget, or cannot be reached (promises 1, 3)."""

from __future__ import annotations

import time

import pytest

from faults_support import (QUERIES_FAULTS, SQL_DIRECTORIES, Gate, Wire, assert_idle, assert_no_strays, elapsed, fault_options, figure,
                            hgetall, wait_state)
from support import SLOW, wait_until

ROWS = 5_000


@pytest.fixture
def wired(make_stack, stack):
    """A stack whose databases `far` are behind a wire. wired(**worker settings) -> (stack, wire)."""
    wires = []

    def make(**worker):
        wire = Wire(lambda: stack.pg_source.port)
        wires.append(wire)
        dsn = wire.url("ledger")
        own = make_stack(**fault_options(
            pg=stack.pg_source, worker=worker, sql_directories=[*SQL_DIRECTORIES, QUERIES_FAULTS / "far"],
            config={"sources": {"far": {"type": "postgres", "dsn": dsn, "connect_timeout": "1s"}},
                    "results": {"far": {"type": "postgres", "dsn": dsn.replace("/ledger", "/postgres"), "connect_timeout": "1s"}}}))
        return own, wire

    yield make
    for wire in wires:
        wire.close()


def retried(stack, job_id):
    return int(hgetall(stack, job_id).get("retried", 0))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_source_restarted_while_jobs_run(make_stack, mode):
    """The source restarts in mid-query: jobs with retries end in SUCCESS with all rows, those without in FAILURE without a table."""
    own = make_stack(**fault_options(two_servers=True, queues={"default": 4}))
    with Gate(own) as gate:
        sturdy = [own.submit("fault_gated", rows, rows // 2, gate.key, retries=3) for rows in (50, ROWS)]
        frail = [own.submit("fault_gated", rows, rows // 2, gate.key) for rows in (50, ROWS)]
        gate.await_waiting(4)
        own.pg_source.restart(mode)
    for job_id in frail:
        job = own.wait(job_id)
        assert job["state"] == "FAILURE", job
        assert "source" in job["error"] or "connection" in job["error"], job
        assert not own.has_table(job_id)
    for job_id, rows in zip(sturdy, (50, ROWS)):
        job = own.wait(job_id)
        assert (job["state"], job["count"]) == ("SUCCESS", rows), job
        assert own.count(job_id) == rows
        assert retried(own, job_id) == 1
    assert_idle(own)
    assert_no_strays(own, set(sturdy))


@pytest.mark.parametrize("rows", [50, ROWS, 100_000], ids=["small", "streamed", "large"])
def test_source_connection_terminated_after_half_the_rows(make_stack, stack, rows):
    """pg_terminate_backend after half the rows: FAILURE and no table, never a short SUCCESS; with retries all rows come."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    for retries, state in ((0, "FAILURE"), (2, "SUCCESS")):
        with Gate(own) as gate:
            job_id = own.submit("fault_gated", rows, rows // 2, gate.key, retries=retries)
            (pid,) = gate.await_waiting()
            own.query("SELECT pg_terminate_backend(%s)", pid, db="ledger")
            gate.open()
            job = own.wait(job_id)
            assert job["state"] == state, job
            if state == "FAILURE":
                assert "terminating connection" in job["error"] or "connection lost" in job["error"], job
                assert not own.has_table(job_id)
            else:
                assert own.count(job_id) == rows
    assert not [name for name in own.tables() if "staging" in name]
    assert_idle(own)


def test_source_connection_cut_in_mid_stream(wired):
    """The wire to the source is cut while rows come: FAILURE without retries, no table; the slot recovers."""
    own, wire = wired()
    with Gate(own) as gate:
        job_id = own.submit("fault_far", 100_000, "x", gate.key)
        gate.await_waiting()
        gate.open()
        wire.cut()
        job = own.wait(job_id)
        assert job["state"] == "FAILURE", job
        assert not own.has_table(job_id)
        wire.mend()
        assert own.run("fault_far", 10, "x", 0)["state"] == "SUCCESS"
    assert_idle(own)


def test_jobs_wait_for_a_source_that_cannot_be_reached(wired):
    """A source that refuses connections: jobs wait in RETRY without spending a retry, then succeed; others are not held up."""
    own, wire = wired(outage_timeout="60s")
    wire.cut()
    jobs = [own.submit("fault_far", 100, i, 0) for i in range(5)]
    for job_id in jobs:
        wait_state(own, job_id, "RETRY")
    assert "far" in own.job(jobs[0])["error"]
    assert own.run("fault_quick", "others go on")["state"] == "SUCCESS"
    wait_until(lambda: all(int(hgetall(own, job_id)["attempt"]) >= 3 for job_id in jobs), 20 * SLOW, "three attempts")
    wire.mend()
    mended = time.monotonic()
    for job_id in jobs:
        job = own.wait(job_id)
        assert (job["state"], job["count"]) == ("SUCCESS", 100), job
        assert retried(own, job_id) == 0
    figure("jobs done after a source came back", elapsed(mended))
    assert_idle(own)


def test_source_that_hangs_is_an_outage(wired):
    """A source that accepts connections and says nothing: the connection attempt ends, the job waits, then succeeds."""
    own, wire = wired(outage_timeout="60s")
    wire.stall()
    job_id = own.submit("fault_far", 100, "x", 0)
    wait_state(own, job_id, "RETRY")
    wire.mend()
    job = own.wait(job_id)
    assert (job["state"], job["count"]) == ("SUCCESS", 100), job
    assert retried(own, job_id) == 0


def test_outage_that_lasts_too_long_is_a_failure(wired):
    """outage_timeout passes: FAILURE with the reason, and how long is kept from the first failed attempt on."""
    own, wire = wired(outage_timeout="1s")
    wire.cut()
    job_id = own.submit("fault_far", 100, "x", 0, retries=5)
    asked = time.monotonic()
    job = own.wait(job_id)
    assert job["state"] == "FAILURE", job
    assert "source 'far'" in job["error"], job
    assert 0.9 < time.monotonic() - asked < 8 * SLOW
    assert retried(own, job_id) == 0
    assert_idle(own)


def test_jobs_wait_for_a_results_server_that_cannot_be_reached(wired):
    """A results server away before and during the run: jobs wait, no retry spent, then SUCCESS with all rows."""
    own, wire = wired(outage_timeout="60s")
    with Gate(own) as gate:
        caught = [own.submit("fault_to_far", rows, "caught", gate.key) for rows in (50, ROWS)]
        gate.await_waiting(2)
        wire.cut()
        gate.open()
        later = own.submit("fault_to_far", ROWS, "later", 0)
        for job_id in (*caught, later):
            wait_state(own, job_id, "RETRY")
        wire.mend()
        for job_id, rows in zip((*caught, later), (50, ROWS, ROWS)):
            job = own.wait(job_id)
            assert (job["state"], job["count"]) == ("SUCCESS", rows), job
            assert retried(own, job_id) == 0
            assert own.count(job_id, db="postgres") == rows
            assert own.delete(f"/jobs/{job_id}?purge=true").status == 200
        wait_until(lambda: not own.tables("postgres"), 5 * SLOW, "the purge")
    assert_idle(own)


def test_purge_waits_for_a_results_server_that_is_away(wired):
    """A job deleted while its results server is away: its table goes when the server is back."""
    own, wire = wired()
    job_id = own.submit("fault_to_far", 10, "x", 0)
    assert own.wait(job_id)["state"] == "SUCCESS"
    wire.cut()
    assert own.delete(f"/jobs/{job_id}?purge=true").status == 200
    assert own.get(f"/jobs/{job_id}").status == 404
    assert own.has_table(job_id, "postgres")
    wire.mend()
    wait_until(lambda: not own.has_table(job_id, "postgres"), 8 * SLOW, "the purge")


def test_result_lost_between_publish_and_acknowledge(make_stack):
    """The results server crashes after an acknowledged commit that never reached its disk (relaxed), before Redis was told:
    the job must not stay SUCCESS without a table."""
    own = make_stack(**fault_options(two_servers=True, worker={"lease": "20s"}, postgres={"wal_writer_delay": "10s", "bgwriter_delay": "10s"}))
    own.succeed("fault_relaxed", 1, "warm", 0)
    own.pg_results.psql("postgres", "CHECKPOINT")
    with Gate(own) as gate:
        job_id = own.submit("fault_relaxed", 50, "x", gate.key)
        gate.await_waiting()
        own.r.client_pause(30_000, all=False)
        gate.open()
        wait_until(lambda: (own.registry(job_id, "relaxed") or {}).get("table_name"), 10 * SLOW, "the registry row")
        own.pg_results.restart("immediate")
        wait_until(lambda: "had crashed results=relaxed" in own.workers[0].log_text(), 15 * SLOW, "the janitor's look")
        own.r.client_unpause()
    own.wait(job_id)
    def consistent():
        job = own.job(job_id)
        return job["state"] == "FAILURE" and "lost" in job["error"] or job["state"] == "SUCCESS" and own.has_table(job_id, "relaxed")
    wait_until(consistent, 10 * SLOW, "a job that tells the truth about its result")


def test_emptied_tables_do_not_stay(make_stack):
    """After a crash of the results server no emptied table stays readable; what was written in full and flushed is kept."""
    own = make_stack(**fault_options(two_servers=True))
    kept = own.succeed("fault_label", 2_000, "kept", 0)  # durability full
    small = own.succeed("fault_relaxed", 50, "small", 0)
    large = own.succeed("fault_relaxed", ROWS, "large", 0)
    plain = own.succeed("in_unlogged", 50, 10)
    own.pg_results.psql("postgres", "CHECKPOINT")
    own.pg_results.restart("immediate")
    back = time.monotonic()
    for job_id, db in ((large, "relaxed"), (plain, "unlogged")):
        wait_until(lambda j=job_id, d=db: not own.has_table(j, d), 10 * SLOW, "no emptied table")
        wait_until(lambda j=job_id: own.job(j)["state"] == "FAILURE", 5 * SLOW, "the word that the result is lost")
        assert "lost" in own.job(job_id)["error"]
    figure("emptied tables dropped after the results server came back", elapsed(back))
    for job_id, db, rows in ((kept, "reports", 2_000), (small, "relaxed", 50)):
        assert own.job(job_id)["state"] == "SUCCESS"
        assert own.count(job_id, db) == rows
    # The same ids are served again.
    assert own.run("fault_relaxed", ROWS, "again", 0, job_id=large)["state"] == "SUCCESS"
    assert own.count(large, "relaxed") == ROWS


def test_emptied_table_is_gone_when_the_next_job_is_done(make_stack):
    """A slot that has lost its connection wakes the janitor: the emptied table goes with the first job after the crash, not
    at the janitor's next round."""
    own = make_stack(**fault_options(two_servers=True))
    for _ in range(4):
        old = own.succeed("in_unlogged", 50, 10)
        own.pg_results.psql("postgres", "CHECKPOINT")
        own.pg_results.restart("immediate")
        own.succeed("in_unlogged", 50, 10)
        done = time.monotonic()
        wait_until(lambda: not own.has_table(old, "unlogged"), 5 * SLOW, "no emptied table")
        figure("emptied table dropped after the next job's end", elapsed(done))
        assert time.monotonic() - done < 0.4 * SLOW


@pytest.mark.parametrize("rows", [50, ROWS], ids=["small", "streamed"])
def test_results_connection_terminated(make_stack, stack, rows):
    """pg_terminate_backend of the sink in mid-run: no retry is spent, the job is SUCCESS with all rows, nothing is left over."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 1}))
    own.succeed("fault_quick", "the slot is connected")
    name = own.query("SELECT current_database()")[0][0]
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", rows, rows, gate.key)
        gate.await_waiting()
        own.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'dungbeetle'", name, db="ledger")
        gate.open()
        job = own.wait(job_id)
        assert (job["state"], job["count"]) == ("SUCCESS", rows), job
        assert retried(own, job_id) == 0
        assert own.count(job_id) == rows
    assert not [table for table in own.tables() if "staging" in table]
    assert_idle(own)
