"""A reader of a result table sees the whole old result or the whole new one (promise 3)."""

from __future__ import annotations

import pytest

from faults_support import Gate, Reader, assert_idle, fault_options, hgetall, table_name
from psycopg import sql
from support import SLOW, wait_until

OLD, NEW = 3_000, 5_000


@pytest.fixture(scope="module")
def own(make_module_stack, stack):
    return make_module_stack(**fault_options(pg=stack.pg_source))


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (5, 7)], ids=["streamed", "small"])
def test_reader_in_a_transaction_sees_the_old_result_to_its_end(own, old, new):
    """A transaction that has read the old table reads it whole again and again; the new result waits; then all see the new."""
    job_id = own.succeed("fault_label", old, "old", 0)
    count = sql.SQL("SELECT count(*), min(label), max(label) FROM {}").format(table_name(job_id))
    with own.db() as reader:
        reader.execute("BEGIN")
        assert reader.execute(count).fetchone() == (old, "old", "old")
        own.submit("fault_label", new, "new", 0, job_id=job_id)
        wait_until(lambda: own.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                     f"%DROP TABLE%{job_id}%"), 10 * SLOW, "the publication to wait")
        wait_until(lambda: not own.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                         f"%DROP TABLE%{job_id}%"), 10 * SLOW, "the end of one attempt (lock_timeout)")
        assert reader.execute(count).fetchone() == (old, "old", "old")
        with own.db() as other:  # between two attempts other readers get in
            other.execute("SET statement_timeout = '10s'")
            assert other.execute(count).fetchone() == (old, "old", "old")
        assert hgetall(own, job_id)["state"] == "STARTED"
        assert reader.execute(count).fetchone() == (old, "old", "old")
        reader.execute("COMMIT")
    job = own.wait(job_id)
    assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 1, new), job
    assert own.query(count) == [(new, "new", "new")]
    assert_idle(own)


def test_open_cursor_reads_the_old_result_to_its_end(own):
    """A cursor that has fetched half of the old result fetches the other half while the new one waits."""
    job_id = own.succeed("fault_label", OLD, "old", 0)
    with own.db() as reader:
        reader.execute("BEGIN")
        reader.execute(sql.SQL("DECLARE c CURSOR FOR SELECT label FROM {}").format(table_name(job_id)))
        half = reader.execute(f"FETCH {OLD // 2} FROM c").fetchall()
        own.submit("fault_label", NEW, "new", 0, job_id=job_id)
        wait_until(lambda: own.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                                     f"%DROP TABLE%{job_id}%"), 10 * SLOW, "the publication to wait")
        rest = reader.execute("FETCH ALL FROM c").fetchall()
        assert [*half, *rest] == [("old",)] * OLD
        reader.execute("COMMIT")
    assert own.wait(job_id)["state"] == "SUCCESS"
    assert own.count(job_id) == NEW


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (5, 7)], ids=["streamed", "small"])
def test_polling_reader_sees_whole_results_only(own, old, new):
    """A reader that counts all the time during 20 replacements: the whole old or the whole new, and always a table."""
    job_id = own.succeed("fault_label", old, "0", 0)
    reader = Reader(own, job_id)
    wait_until(lambda: (old, 1, "0") in reader.seen, 10 * SLOW, "the reader to begin")
    sizes = {"0": old}
    for n in range(1, 21):
        sizes[str(n)] = rows = new if n % 2 else old
        job = own.run("fault_label", rows, n, 0, job_id=job_id)
        assert job["state"] == "SUCCESS", job
        wait_until(lambda it=(rows, 1, str(n)): it in reader.seen, 10 * SLOW, "the reader to see it")
    seen = reader.end()
    assert set(seen) == {(rows, 1, label) for label, rows in sizes.items()}, seen


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (5, 7)], ids=["streamed", "small"])
def test_reader_with_an_older_snapshot_sees_a_whole_result(own, old, new):
    """A REPEATABLE READ transaction whose snapshot is older than the replacement sees the old or the new, whole."""
    job_id = own.succeed("fault_label", old, "old", 0)
    with own.db() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM dungbeetle_results LIMIT 1")  # takes the snapshot
        assert own.run("fault_label", new, "new", 0, job_id=job_id)["state"] == "SUCCESS"
        seen = reader.execute(sql.SQL("SELECT count(*), min(label) FROM {}").format(table_name(job_id))).fetchone()
        reader.execute("COMMIT")
    assert seen in ((old, "old"), (new, "new")), seen


def test_failed_run_leaves_the_old_result(own):
    """A new run that fails in mid-stream leaves the old result whole, table and registry."""
    job_id = own.succeed("fault_label", OLD, "old", 0)
    reader = Reader(own, job_id)
    before = own.registry(job_id)
    with Gate(own) as gate:
        own.submit("fault_label", NEW, "new", gate.key, job_id=job_id)
        (pid,) = gate.await_waiting()
        own.query("SELECT pg_terminate_backend(%s)", pid, db="ledger")
        assert own.wait(job_id)["state"] == "FAILURE"
    assert set(reader.end()) == {(OLD, 1, "old")}
    assert own.registry(job_id) == before
