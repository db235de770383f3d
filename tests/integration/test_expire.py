"""dungbeetle-expire: drops what is expired and what is stray, and nothing else."""

import re
import subprocess
import threading

import pytest
from psycopg import sql
from support import SLOW, table_name, uid, wait_until

LINE = re.compile(r"results=(\S+) expired=(\d+) strays=(\d+) left=(\d+)( dry-run)?( error=.*)?")


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    made = make_module_stack(pg=stack.pg_source, config={"expire": {"batch": 3, "lock_timeout": "200ms"}})
    for task, args in (("nothing_asked", []), ("in_relaxed", [1, 1]), ("in_unlogged", [1, 1])):
        made.succeed(task, *args)  # makes the registry
    return made


@pytest.fixture(autouse=True)
def _clean(own):
    """Whatever the last test has left is gone: each begins with nothing that has expired."""
    for db in ("reports", "relaxed", "unlogged"):
        own.query("UPDATE dungbeetle_results SET expires_at = 'infinity'", db=db)


def expire(own, *args, status=0):
    """Runs it: {results database: (expired, strays, left)}."""
    done = own.expire(*args)
    assert done.returncode == status, done
    found = {}
    for line in done.stdout.splitlines():
        match = LINE.fullmatch(line)
        assert match, done
        found[match[1]] = tuple(int(n) for n in match.group(2, 3, 4))
    return found


def age(own, *job_ids, db="reports"):
    """The results' time is over."""
    own.query("UPDATE dungbeetle_results SET expires_at = now() - interval '1 second' WHERE job_id = ANY(%s)", list(job_ids), db=db)


def test_nothing_to_do_is_one_line_for_each_results_database_and_status_0(own):
    assert expire(own) == {name: (0, 0, 0) for name in ("reports", "relaxed", "unlogged")}


def test_a_result_is_dropped_when_its_ttl_is_over_and_not_before(own):
    short, long = own.succeed("numbers", 3, ttl=1), own.succeed("numbers", 3, ttl=3600)
    total = 0

    def gone():
        nonlocal total
        total += expire(own)["reports"][0]
        return not own.has_table(short)

    wait_until(gone, 10 * SLOW, "expiry")
    assert total == 1
    assert own.registry(short) is None
    assert own.count(long) == 3
    assert own.registry(long)


def test_all_expired_results_are_dropped_in_batches_in_all_databases(own):
    jobs = [own.succeed("nothing_asked") for _ in range(10)]
    keep = own.succeed("nothing_asked")
    relaxed = own.succeed("in_relaxed", 1, 1)
    unlogged = own.succeed("in_unlogged", 1, 1)
    age(own, *jobs)
    age(own, relaxed, db="relaxed")
    age(own, unlogged, db="unlogged")
    assert expire(own) == {"reports": (10, 0, 0), "relaxed": (1, 0, 0), "unlogged": (1, 0, 0)}
    assert not any(own.has_table(job) for job in jobs)
    assert own.count(keep) == 1
    assert not own.has_table(relaxed, "relaxed")
    assert not own.has_table(unlogged, "unlogged")


def test_dry_run_counts_and_drops_nothing(own):
    jobs = [own.succeed("nothing_asked") for _ in range(2)]
    age(own, *jobs)
    for _ in range(2):
        done = own.expire("--dry-run")
        assert done.returncode == 0
        assert "results=reports expired=2 strays=0 left=0 dry-run" in done.stdout.splitlines()
    assert all(own.has_table(job) for job in jobs)
    assert expire(own)["reports"] == (2, 0, 0)


def test_a_table_that_is_being_read_is_left_and_said_so(own):
    """Status 1 and left=1; the others are dropped; the next turn takes it."""
    locked, free = own.succeed("numbers", 3), own.succeed("numbers", 3)
    age(own, locked, free)
    with own.db("reports") as reader:
        reader.execute("BEGIN")
        reader.execute(sql.SQL("SELECT * FROM {}").format(table_name(locked)))
        assert expire(own, status=1)["reports"] == (1, 0, 1)
        assert not own.has_table(free)
        assert len(reader.execute(sql.SQL("SELECT * FROM {}").format(table_name(locked))).fetchall()) == 3
        reader.execute("COMMIT")
    assert expire(own)["reports"] == (1, 0, 0)
    assert not own.has_table(locked)


def test_a_locked_table_does_not_hold_up_the_rest(own):
    jobs = sorted(own.succeed("nothing_asked") for _ in range(9))
    age(own, *jobs)
    with own.db("reports") as reader:
        reader.execute("BEGIN")
        for job in jobs[::4]:
            reader.execute(sql.SQL("SELECT * FROM {}").format(table_name(job)))
        assert expire(own, status=1)["reports"] == (6, 0, 3)
    assert expire(own)["reports"] == (3, 0, 0)


def test_two_copies_at_once_do_not_disturb_each_other(own):
    jobs = [job["job_id"] for job in own.post("/groups", {"jobs": [{"task": "nothing_asked"}] * 60}).data["jobs"]]
    for job in jobs:
        own.wait(job)
    age(own, *jobs)
    done = []
    threads = [threading.Thread(target=lambda: done.append(own.expire())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [LINE.fullmatch(next(line for line in each.stdout.splitlines() if "=reports " in line)) for each in done]
    assert sum(int(match[2]) for match in counts) == 60, done
    assert all(each.returncode in (0, 1) and "error" not in each.stdout for each in done)
    assert not any(own.has_table(job) for job in jobs)


def test_it_runs_beside_workers_that_publish_the_same_ids(own):
    """Results that are replaced while they expire: nobody fails, and what is there last is whole."""
    jobs = [uid() for _ in range(8)]
    for _ in range(5):
        running = [own.submit("numbers", 20, job_id=job) for job in jobs]
        age(own, *jobs)
        own.expire()
        for job in running:
            assert own.wait(job)["state"] == "SUCCESS"
    for job in jobs:
        assert own.registry(job) is None or own.count(job) == 20


def test_rows_whose_table_is_gone_are_removed_as_strays(own):
    jobs = [own.succeed("nothing_asked") for _ in range(3)]
    for job in jobs[:2]:
        own.query(sql.SQL("DROP TABLE {}").format(table_name(job)))
    assert expire(own, "--dry-run")["reports"] == (0, 2, 0)
    assert expire(own)["reports"] == (0, 2, 0)
    assert own.registry(jobs[0]) is None
    assert own.count(jobs[2]) == 1


def test_an_expired_row_whose_table_is_gone_is_removed(own):
    job = own.succeed("nothing_asked")
    own.query(sql.SQL("DROP TABLE {}").format(table_name(job)))
    age(own, job)
    assert sum(expire(own)["reports"]) == 1
    assert own.registry(job) is None


def test_tables_of_others_are_not_touched(own):
    own.query("CREATE TABLE results_of_somebody_else (n integer); CREATE TABLE budget (n integer)")
    expire(own)
    assert {"results_of_somebody_else", "budget"} <= own.tables()
    own.query("DROP TABLE results_of_somebody_else, budget")


def test_what_a_purge_leaves_to_guard_goes_later_and_is_not_counted(own):
    job = own.succeed("nothing_asked")
    assert own.delete(f"/jobs/{job}?purge=true").status == 200
    wait_until(lambda: not own.has_table(job), 5, "purge")
    own.query("UPDATE dungbeetle_results SET expires_at = now() - interval '1 second' WHERE table_name IS NULL")
    assert expire(own)["reports"] == (0, 0, 0)
    assert own.registry(job) is None


def test_names_that_need_quotes_are_dropped_too(own):
    job = own.succeed("nothing_asked", job_id=uid("Mixed:Case"))
    age(own, job)
    assert expire(own)["reports"] == (1, 0, 0)
    assert not own.has_table(job)


def test_a_database_that_cannot_be_reached_is_status_1_and_the_others_are_done(own, tmp_path):
    text = own.config_path.read_text()
    broken = tmp_path / "config.yml"
    broken.write_text(re.sub(r"(relaxed:\n(?: +.*\n)*? +dsn: )\S+", r'\1"postgresql://u:very-secret@127.0.0.1:1/x"', text))
    job = own.succeed("nothing_asked")
    age(own, job)
    done = subprocess.run([own.bin_dir / "dungbeetle-expire", "--config", broken], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "expired=1" in lines["results=reports"]
    assert "error=" in lines["results=relaxed"]
    assert "very-secret" not in done.stdout + done.stderr
    assert "error=" not in lines["results=unlogged"]


def test_it_needs_neither_redis_nor_a_source(own, tmp_path):
    text = own.config_path.read_text()
    cut = tmp_path / "config.yml"
    cut.write_text(re.sub(r"(?m)^sources:\n(?: +.*\n)+", "", text).replace(own.redis.url, "redis://127.0.0.1:1"))
    done = subprocess.run([own.bin_dir / "dungbeetle-expire", "--config", cut], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
