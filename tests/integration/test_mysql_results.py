"""Results in MariaDB: the right rows, all of them at once, whatever dies, locks or forbids something meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time

import pytest
from faults_support import LEASE_TEXT, Gate, hgetall, wait_state
from mysql_support import Corruptor, MariaDBStack
from support import SLOW, uid, wait_until

SMALL, STAGED, LARGE = 10, 500, 30_000  # rows: CREATE ... SELECT; INSERT into a staging table; LOAD DATA
OPTIONS = {"kind": MariaDBStack, "queues": {"default": 4, "reports": 2, "one": 1},
           "config": {"worker": {"lease": LEASE_TEXT}, "expire": {"batch": 3, "lock_timeout": "200ms"}}}


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    return make_module_stack(pg=stack.pg_source, **OPTIONS)


@pytest.fixture(scope="module")
def corrupting(stack, own, make_module_stack):
    """Another stack on the same MariaDB, to which what it sends comes damaged."""
    corruptor = Corruptor(own.mariadb.port)
    through = {"type": "mysql", "dsn": own.mariadb.dsn("reports").replace(str(own.mariadb.port), str(corruptor.port))}
    config = {"results": {name: through for name in ("reports", "relaxed", "unlogged")}}
    yield make_module_stack(pg=stack.pg_source, config=config)
    corruptor.close()


@pytest.fixture(autouse=True)
def _nothing_stays(own):
    yield
    wait_until(lambda: not own.strays(), 10 * SLOW, "an end of staging tables")


def expire(own, *args, status=0):
    """(expired, strays, left) of the database `reports`."""
    done = own.expire(*args)
    assert done.returncode == status, done
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("results=reports "))
    return tuple(int(n) for n in re.findall(r"(?:expired|strays|left)=(\d+)", line))


def age(own, *job_ids, db="reports"):
    ids = ", ".join(f"'{job}'" for job in job_ids)
    own.ask(f"UPDATE dungbeetle_results SET expires_at = UTC_TIMESTAMP() - INTERVAL 2 SECOND WHERE job_id IN ({ids})", db)


@pytest.fixture
def clean(own):
    own.ask("UPDATE dungbeetle_results SET expires_at = '9999-01-01'")


# --- what is published


@pytest.mark.parametrize("rows", [0, 1, SMALL, 64, 65, STAGED, LARGE, 300_000])
def test_all_rows_come_and_the_registry_says_so(own, rows):
    job_id = own.submit("numbers", rows, ttl=600)
    job = own.wait(job_id)
    assert (job["state"], job["count"]) == ("SUCCESS", rows)
    found = own.ask(f"SELECT COUNT(*), COALESCE(SUM(n), 0), COUNT(DISTINCT name), COALESCE(MAX(name = CONCAT('number ', n)), 1) FROM `results_{job_id}`")
    assert found == [[str(rows), str(rows * (rows + 1) // 2), str(rows), "1"]]
    row = own.registry(job_id)
    run = hgetall(own, job_id)["run"]
    assert row.items() >= {"run": run, "published": run, "table_name": f"results_{job_id}", "claimed": f"results_{job_id}",
                           "task": "numbers", "row_count": str(rows)}.items()
    assert own.ask(f"SELECT ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), expires_at) / 10) FROM dungbeetle_results WHERE job_id = '{job_id}'") == [["60"]]


@pytest.mark.parametrize(("rows", "size"), [(1, 0), (1, 60_000), (1, 1 << 20), (3, 5 << 20), (70, 2000), (20_000, 10), (20_000, 0)])
def test_rows_of_any_size(own, rows, size):
    job_id = own.succeed("wide_rows", rows, size)
    found = own.ask(f"SELECT COUNT(*), MIN(LENGTH(filler)), MAX(LENGTH(filler)), SUM(n) FROM `results_{job_id}`")
    assert found == [[str(n) for n in (rows, size, size, rows * (rows + 1) // 2)]]


@pytest.mark.parametrize("text", ["it's", "back\\slash\\", "tab\tnew\nline\rend", "\\N", "NULL", "", " x ", "é€😀", "'; DROP TABLE x; -- ", "\x01\x1a%_"])
@pytest.mark.parametrize("rows", [1, 2 * SMALL, LARGE])
def test_texts_come_as_they_are(own, text, rows):
    job_id = own.succeed("versioned", rows, text)
    assert own.ask(f"SELECT COUNT(*), MIN(HEX(version)), MAX(HEX(version)) FROM `results_{job_id}`") == [[str(rows), *2 * [text.encode().hex().upper()]]]


def test_nulls(own):
    for rows in (5, STAGED, LARGE):
        job_id = own.succeed("all_null", rows)
        assert own.columns(job_id) == [("a", "int(11)"), ("b", "longtext"), ("c", "decimal(5,2)"), ("d", "datetime(6)")]
        assert own.ask(f"SELECT COUNT(*), COUNT(a), COUNT(b), COUNT(c), COUNT(d) FROM `results_{job_id}`") == [[str(rows), "0", "0", "0", "0"]]


def test_names_that_differ_in_case_only_are_made_unique(own):
    """MySQL's names of columns are the same then."""
    job_id = own.succeed("duplicate_names")
    names = [name for name, _ in own.columns(job_id)]
    assert len({name.lower() for name in names}) == 7
    assert (names[0], names[-1]) == ("a", "A_4")
    assert own.rows(job_id) == [["1", "2", "3", "4", "5", "6", "7"]]


def test_odd_and_long_names(own):
    job_id = own.succeed("odd_names")
    names = ['a"b', "select", "Ünï côdé", "a'; DROP TABLE dungbeetle_results; --", "column_5", "%s$1\\"]
    assert [name.replace("\\\\", "\\") for name, _ in own.columns(job_id)] == names
    assert own.rows(job_id) == [["1", "2", "3", "4", "5", "6"]]
    job_id = own.succeed("long_names")
    assert len({name for name, _ in own.columns(job_id)}) == 4
    assert own.rows(job_id) == [["1", "2", "3", "4"]]


def test_two_hundred_columns(own):
    job_id = own.succeed("columns_200")
    assert [name for name, _ in own.columns(job_id)] == [f"c{i}" for i in range(200)]
    assert own.ask(f"SELECT SUM(c0), SUM(c11), SUM(c197), COUNT(c3), COUNT(c199) FROM `results_{job_id}`") == [["1275", "1275", "1275.000", "0", "0"]]


@pytest.mark.parametrize("rows", [1, STAGED, LARGE])
def test_a_text_that_is_not_utf8_is_a_failure_and_leaves_nothing(own, corrupting, rows):
    """Never a changed row, though LOAD DATA only warns."""
    job = corrupting.fail("versioned", rows, "fragile")
    assert "Incorrect string value" in job["error"], job
    assert "`version`" in job["error"], job
    assert not own.has_table(job["job_id"])
    assert (own.registry(job["job_id"]) or {"table_name": "NULL"})["table_name"] == "NULL"
    assert "\\xFF" not in corrupting.workers[0].log_text()
    corrupting.succeed("versioned", rows, "sound", job_id=job["job_id"])
    assert own.count(job["job_id"]) == rows


def test_a_query_that_breaks_late_leaves_nothing(own):
    for task, args in (("breaks_late", [100_000]), ("breaks_late_copied", [])):
        job = own.fail(task, *args)
        assert "division by zero" in job["error"]
        assert not own.has_table(job["job_id"])


# --- replacing


@pytest.mark.parametrize("rows", [SMALL, STAGED, LARGE])
def test_a_replaced_result_may_have_other_columns(own, rows):
    job_id = own.succeed("numbers", 3)
    own.succeed("numbers", rows, job_id=job_id)
    assert own.count(job_id) == rows
    own.succeed("echo", "a", "b", job_id=job_id)
    assert [name for name, _ in own.columns(job_id)] == ["a", "b", "a_is_null", "b_is_null"]
    assert own.registry(job_id)["row_count"] == "1"
    own.succeed("numbers", 0, job_id=job_id)
    assert own.count(job_id) == 0


@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_a_reader_keeps_the_whole_old_result_and_then_the_new_one_comes(own, rows):
    job_id = own.succeed("versioned", rows, "old")
    read = f"SELECT COUNT(*), MIN(version), MAX(version) FROM `results_{job_id}`"
    with own.session() as reader:
        reader.ask("BEGIN")
        assert reader.ask(read) == [[str(rows), "old", "old"]]
        own.submit("versioned", rows, "new", job_id=job_id)
        wait_until(lambda: own.ask("SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata%'"), 10 * SLOW, "the worker waits")
        assert own.job(job_id)["state"] == "STARTED"
        assert reader.ask(read) == [[str(rows), "old", "old"]]
        with own.session() as later:
            assert later.ask(read) == [[str(rows), "old", "old"]]  # the attempt ends, and lets it in
        reader.ask("COMMIT")
        assert own.wait(job_id)["state"] == "SUCCESS"
    assert own.ask(read) == [[str(rows), "new", "new"]]


class Readers:
    """Sessions that read all the time; each answer is kept once."""

    def __init__(self, own, sql, n=2):
        self.seen = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(own.session(), sql)) for _ in range(n)]
        for thread in self._threads:
            thread.start()

    def _read(self, session, sql):
        with session:
            while not self._stop.is_set():
                for row in session.ask(sql):
                    self.seen.add("no table" if "ERROR 1146" in row[0] else tuple(row))

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.seen


@pytest.mark.parametrize("rows", [SMALL, STAGED, LARGE])
def test_readers_that_come_and_go_see_only_whole_results(own, rows):
    job_id = own.succeed("versioned", rows, "v0")
    readers = Readers(own, f"SELECT COUNT(*), COUNT(DISTINCT version) FROM `results_{job_id}`")
    try:
        for i in range(10):
            own.succeed("versioned", rows, f"v{i}", job_id=job_id)
    finally:
        seen = readers.end()
    assert seen == {(str(rows), "1")}


@pytest.mark.parametrize("rows", [1, SMALL, STAGED, LARGE])
def test_readers_see_no_part_of_a_first_result(own, rows):
    for _ in range(10):
        job_id = uid()
        readers = Readers(own, f"SELECT COUNT(*), COUNT(DISTINCT version) FROM `results_{job_id}`")
        try:
            wait_until(lambda seen=readers.seen: seen == {"no table"}, 10 * SLOW, "readers")
            own.succeed("versioned", rows, "x", job_id=job_id)
            wait_until(lambda seen=readers.seen: len(seen) > 1, 10 * SLOW, "a reader that has seen the result")
        finally:
            seen = readers.end()
        assert seen == {"no table", (str(rows), "1")}


@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_a_table_dropped_by_hand_or_of_a_stranger_is_no_hindrance(own, rows):
    job_id = own.succeed("numbers", 3)
    own.ask(f"DROP TABLE `results_{job_id}`")
    own.succeed("numbers", rows, job_id=job_id)
    assert own.count(job_id) == rows
    job_id = uid()
    own.ask(f"CREATE TABLE `results_{job_id}` (x INT)")
    own.succeed("numbers", rows, job_id=job_id)
    assert own.count(job_id) == rows
    assert own.registry(job_id)["row_count"] == str(rows)


def test_a_dropped_registry_is_made_again(own):
    own.succeed("numbers", 1)
    own.ask("DROP TABLE dungbeetle_results")
    job_id = own.succeed("numbers", 2)
    assert own.count(job_id) == 2
    assert own.registry(job_id)["row_count"] == "2"


# --- who may publish


@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_an_older_run_cannot_publish(own, rows):
    """While it reads its source, a newer run claims the job; the newer one's table stays as it is."""
    job_id = uid()
    with Gate(own) as gate:
        own.submit("fault_gated", rows, 1 if rows == SMALL else rows - 1, gate.key, job_id=job_id)
        gate.await_waiting()
        run = int(hgetall(own, job_id)["run"])
        own.ask("INSERT INTO dungbeetle_results (job_id, run, claimed, table_name, row_count, published, expires_at) VALUES "
                f"('{job_id}', {run + 1}, 'results_{job_id}', 'results_{job_id}', 1, {run + 1}, '9999-01-01')")
        own.ask(f"CREATE TABLE `results_{job_id}` SELECT 'newer'")
        gate.open()
        assert "a newer run" in own.wait(job_id)["error"]
    assert own.rows(job_id) == [["newer"]]
    assert own.registry(job_id)["run"] == str(run + 1)


def test_a_newer_run_in_the_last_moment_wins(own):
    """The old run waits for readers of the table when the newer one claims the job."""
    job_id = own.succeed("numbers", 1)
    with own.session() as reader:
        reader.ask("BEGIN")
        reader.ask(f"SELECT * FROM `results_{job_id}`")
        own.submit("numbers", LARGE, job_id=job_id)
        wait_until(lambda: own.ask("SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata%'"), 10 * SLOW, "the worker waits")
        own.ask(f"UPDATE dungbeetle_results SET run = run + 10 WHERE job_id = '{job_id}'")
        assert "a newer run" in own.wait(job_id)["error"]
        reader.ask("COMMIT")
    assert own.count(job_id) == 1


def test_a_purge_drops_the_table_within_5_s_and_guards(own):
    for rows in (SMALL, LARGE):
        job_id = own.succeed("numbers", rows)
        assert own.delete(f"/jobs/{job_id}?purge=true").status == 200
        wait_until(lambda job=job_id: not own.has_table(job), 5 * SLOW, "purge")
        row = wait_until(lambda job=job_id: (row if (row := own.registry(job))["table_name"] == "NULL" else None), 5 * SLOW, "the guard")
        assert row["claimed"] == row["row_count"] == row["published"] == "NULL"


def test_a_run_that_has_been_purged_publishes_nothing_afterwards(own):
    """Its cancel may come late, or its worker not hear of it."""
    for rows in (SMALL, LARGE):
        with Gate(own) as gate:
            job_id = own.submit("fault_gated", rows, rows - 1, gate.key)
            gate.await_waiting()
            own.r.hset(own.key("purges"), job_id, f"{hgetall(own, job_id)['run']} reports")
            wait_until(lambda: not own.r.exists(own.key("purges")), 10 * SLOW, "the purge")
            gate.open()
            assert "a newer run" in own.wait(job_id)["error"]
        assert not own.has_table(job_id)
        assert own.succeed("numbers", rows, job_id=job_id)


def test_a_job_that_is_deleted_in_mid_load_leaves_nothing(own):
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", LARGE, LARGE - 1, gate.key)
        gate.await_waiting()
        own.await_loading()
        assert own.delete(f"/jobs/{job_id}?purge=true").status == 200
        wait_until(lambda: not own.loading() and not own.strays(), 5 * SLOW, "an end of the load")
        assert not own.has_table(job_id)
    assert own.succeed("numbers", 1, queue="one")


# --- who dies


def test_a_server_killed_in_mid_load(stack, make_stack):
    """Nothing is to be seen, the job runs again without a retry, and then the result is right; the torso goes with expiry."""
    own = make_stack(pg=stack.pg_source, **OPTIONS)
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", LARGE, LARGE - 1, gate.key)
        small = own.submit("fault_gated", SMALL, 1, gate.key)
        gate.await_waiting(2)
        own.await_loading()
        own.mariadb.kill()
        gate.open()
        for job in (job_id, small):
            wait_state(own, job, "RETRY")
        own.mariadb.start()
        assert not own.has_table(job_id)
        for job, rows in ((job_id, LARGE), (small, SMALL)):
            found = own.wait(job)
            assert (found["state"], found["count"]) == ("SUCCESS", rows), found
            assert own.count(job) == rows
            assert int(hgetall(own, job).get("retried", 0)) == 0
    assert expire(own)[1] <= 1
    assert own.tables() == {f"results_{job_id}", f"results_{small}"}


def test_a_server_killed_while_small_results_are_published(stack, make_stack):
    """At no moment is there an empty or partial table, and all jobs end well."""
    own = make_stack(pg=stack.pg_source, **{**OPTIONS, "mariadb": {"innodb_flush_log_at_trx_commit": 1}})
    jobs = [uid() for _ in range(120)]
    own.post("/groups", {"jobs": [{"task": "numbers", "job_id": job, "args": [str(SMALL)]} for job in jobs]})
    for i in range(3):
        wait_until(lambda n=i: len(own.tables()) > 15 + 25 * n, 20 * SLOW, "some results")
        own.mariadb.kill()
        own.mariadb.start()
        for table in own.tables():
            if table.startswith("results_"):
                assert own.ask(f"SELECT COUNT(*) FROM `{table}`") == [[str(SMALL)]]
    for job in jobs:
        assert own.wait(job, 60)["state"] == "SUCCESS"
        assert own.count(job) == SMALL
        assert own.registry(job)["row_count"] == str(SMALL)
    expire(own)
    assert own.tables() == {f"results_{job}" for job in jobs}


def test_a_worker_killed_in_mid_load(stack, make_stack):
    """Another worker takes the job over; the dead one's staging table goes with expiry, which leaves a live one alone."""
    own = make_stack(pg=stack.pg_source, **OPTIONS)
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", LARGE, LARGE - 1, gate.key)
        gate.await_waiting()
        own.await_loading()
        (staging,) = own.strays()
        assert expire(own) == (0, 0, 0)
        assert own.strays() == {staging}
        own.workers[0].kill()
        wait_until(lambda: not own.loading(), 10 * SLOW, "an end of the load")
        assert expire(own, "--dry-run") == (0, 1, 0)
        assert expire(own) == (0, 1, 0)
        assert not own.strays()
        gate.open()
        own.workers[0].start()
        assert own.wait(job_id)["state"] == "SUCCESS"
    assert own.count(job_id) == LARGE


def test_a_stopped_worker_holds_nobody_up(stack, make_stack):
    """SIGSTOP in mid-load: the other worker publishes, readers read; woken up, the first one leaves everything as it is."""
    own = make_stack(pg=stack.pg_source, workers=2, **{**OPTIONS, "queues": {"default": 1}})
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", LARGE, LARGE - 1, gate.key)
        gate.await_waiting()
        own.await_loading()
        first, second = own.workers
        if not re.search(rf"worker={first.name}", hgetall(own, job_id)["worker"]) and first.name != hgetall(own, job_id)["worker"]:
            first, second = second, first
        first.signal(signal.SIGSTOP)
        try:
            gate.open()
            assert own.wait(job_id)["state"] == "SUCCESS"
            before = own.registry(job_id)
        finally:
            first.signal(signal.SIGCONT)
        wait_until(lambda: f"job lost job={job_id}" in first.log_text(), 10 * SLOW, "loss")
        wait_until(lambda: not own.strays(), 10 * SLOW, "an end of the staging table")
        assert own.registry(job_id) == before
        assert own.count(job_id) == LARGE


# --- what a server forbids


def test_without_local_infile_rows_go_by_insert(own, corrupting):
    """Found out at the first use or at connecting, and said once."""
    try:
        own.ask("SET GLOBAL local_infile = 0")
        for _ in range(2):
            for task, rows in (("numbers", LARGE), ("wide_rows", 50)):
                job_id = own.succeed(task, rows, *([60_000] if task == "wide_rows" else []))
                assert own.count(job_id) == rows
            assert "`version`" in corrupting.fail("versioned", LARGE, "fragile")["error"]
            own.fail("breaks_late", 100_000)
            own.ask("SELECT GROUP_CONCAT(CONCAT('KILL ', id) SEPARATOR ';') FROM information_schema.processlist WHERE user <> 'root'")
    finally:
        own.ask("SET GLOBAL local_infile = 1")
    said = [line for line in own.workers[0].log_text().splitlines() if "forbids LOAD DATA LOCAL" in line]
    assert len(said) == 1
    assert "results=reports" in said[0]


def test_a_server_that_folds_table_names(stack, make_stack):
    """Two job ids could share a table there: a capital letter in one is a failure that says why."""
    own = make_stack(pg=stack.pg_source, **{**OPTIONS, "mariadb": {"lower_case_table_names": 1}})
    assert "lower_case_table_names" in own.fail("numbers", 1, job_id=uid("Capital"))["error"]
    for rows in (SMALL, LARGE):
        assert own.count(own.succeed("numbers", rows)) == rows
    assert expire(own) == (0, 0, 0)


@pytest.mark.parametrize(("engine", "text"), [("MEMORY", "cannot be kept"), ("TokuDB", "has none of that name")])
def test_a_storage_engine_that_does_not_do_is_told(own, tmp_path, engine, text):
    config = tmp_path / "config.yml"
    config.write_text(re.sub(r"(\n +)lock_timeout: 1s", rf"\1storage_engine: '{engine}'\g<0>", own.config_path.read_text()))
    done = subprocess.run([own.bin_dir / "dungbeetle-expire", "--config", config, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert f"storage_engine '{engine}'" in done.stdout, done
    assert text in done.stdout, done


@pytest.mark.parametrize("engine", ["Aria", "MyISAM"])
def test_other_storage_engines(stack, make_stack, engine):
    own = make_stack(pg=stack.pg_source, results={"storage_engine": engine}, **OPTIONS)
    for rows in (0, 1, SMALL, STAGED, LARGE):
        job_id = own.succeed("numbers", rows)
        assert own.count(job_id) == rows
        own.succeed("numbers", rows + 1, job_id=job_id)
        assert own.count(job_id) == rows + 1
        assert own.ask(f"SELECT engine FROM information_schema.tables WHERE table_name = 'results_{job_id}'") == [[engine]]
    assert own.ask("SELECT engine FROM information_schema.tables WHERE table_name = 'dungbeetle_results' AND table_schema = 'reports'") == [["InnoDB"]]


def test_an_old_result_that_is_read_for_long_makes_the_job_wait_not_fail(own):
    """All attempts end, the job stays; when the reader has gone, it is done."""
    job_id = own.succeed("versioned", SMALL, "old")
    with own.session() as reader:
        reader.ask("BEGIN")
        reader.ask(f"SELECT * FROM `results_{job_id}`")
        own.submit("versioned", SMALL, "new", job_id=job_id)
        time.sleep(3)
        assert own.job(job_id)["state"] in ("STARTED", "RETRY")
        reader.ask("COMMIT")
    assert own.wait(job_id)["state"] == "SUCCESS"


# --- expiry


@pytest.mark.usefixtures("clean")
def test_expired_results_are_dropped_in_batches_and_no_others(own):
    jobs = [own.succeed("numbers", 1) for _ in range(7)]
    keep = own.succeed("numbers", 2)
    age(own, *jobs)
    assert expire(own, "--dry-run") == (7, 0, 0)
    assert all(own.has_table(job) for job in jobs)
    own.ask("CREATE TABLE results_of_somebody_else (n INT); CREATE TABLE dungbeetle_staging_x (n INT)")
    assert expire(own) == (7, 0, 0)
    assert not any(own.has_table(job) or own.registry(job) for job in jobs)
    assert own.count(keep) == 2
    assert {"results_of_somebody_else", "dungbeetle_staging_x"} <= own.tables()
    own.ask("DROP TABLE results_of_somebody_else, dungbeetle_staging_x")


@pytest.mark.usefixtures("clean")
def test_a_table_that_is_being_read_is_left_and_said_so(own):
    locked, free = own.succeed("numbers", 3), own.succeed("numbers", 3)
    age(own, locked, free)
    with own.session() as reader:
        reader.ask("BEGIN")
        assert len(reader.ask(f"SELECT * FROM `results_{locked}`")) == 3
        assert expire(own, status=1) == (1, 0, 1)
        assert not own.has_table(free)
        assert len(reader.ask(f"SELECT * FROM `results_{locked}`")) == 3
    assert expire(own) == (1, 0, 0)
    assert not own.has_table(locked)


@pytest.mark.usefixtures("clean")
def test_rows_whose_table_is_gone_and_tables_of_dead_runs_are_strays(own):
    gone, keep = own.succeed("numbers", 1), own.succeed("numbers", 1)
    own.ask(f"DROP TABLE `results_{gone}`")
    own.ask("CREATE TABLE dungbeetle_staging_0123456789abcdef_1 (n INT); CREATE TABLE dungbeetle_trash_0123456789abcdef_2 (n INT)")
    assert expire(own, "--dry-run") == (0, 3, 0)
    assert expire(own) == (0, 3, 0)
    assert own.registry(gone) is None
    assert own.count(keep) == 1
    assert expire(own) == (0, 0, 0)


@pytest.mark.usefixtures("clean")
def test_what_a_purge_leaves_to_guard_goes_later_and_is_not_counted(own):
    job_id = own.succeed("numbers", 1)
    own.delete(f"/jobs/{job_id}?purge=true")
    wait_until(lambda: own.registry(job_id)["claimed"] == "NULL", 5 * SLOW, "purge")
    age(own, job_id)
    assert expire(own) == (0, 0, 0)
    assert own.registry(job_id) is None


@pytest.mark.usefixtures("clean")
def test_two_copies_at_once_do_not_disturb_each_other(own):
    jobs = [uid() for _ in range(40)]
    own.post("/groups", {"jobs": [{"task": "numbers", "job_id": job, "args": ["1"]} for job in jobs]})
    for job in jobs:
        own.wait(job)
    age(own, *jobs)
    done = []
    threads = [threading.Thread(target=lambda: done.append(own.expire())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each.returncode in (0, 1) and "error" not in each.stdout for each in done), done
    assert sum(int(re.search(r"results=reports expired=(\d+)", each.stdout)[1]) for each in done) + expire(own)[0] == 40
    assert not any(own.has_table(job) for job in jobs)


@pytest.mark.usefixtures("clean")
def test_it_runs_beside_workers_that_publish_the_same_ids(own):
    jobs = [uid() for _ in range(8)]
    for i in range(4):
        rows = LARGE if i % 2 else 20
        running = [own.submit("numbers", rows, job_id=job) for job in jobs]
        age(own, *jobs)
        own.expire()
        for job in running:
            assert own.wait(job)["state"] == "SUCCESS"
    for job in jobs:
        assert own.registry(job) is None or own.count(job) == LARGE
