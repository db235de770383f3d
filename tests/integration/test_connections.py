"""The connections of a worker to its databases: how many at once, for how long they idle, with which password."""

from __future__ import annotations

import threading
import time

import pytest

from faults_support import hgetall, wait_state
from support import SLOW, Program, wait_until
from test_several_databases import DIRECTORIES, several, source_of, start

SECRET = "hunter2 'with\\ %40 all"


class Sampler:
    """Looks all the time how many sessions a user has; the highest number is `most`."""

    def __init__(self, stack, *users):
        self.most = dict.fromkeys(users, 0)
        self._end = threading.Event()
        self._connection = stack.db("ledger")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        query = "SELECT usename, count(*) FROM pg_stat_activity WHERE usename = ANY (%s) AND backend_type = 'client backend' GROUP BY 1"
        while not self._end.is_set():
            for user, n in self._connection.execute(query, (list(self.most),)):
                self.most[user] = max(self.most[user], n)

    def end(self):
        self._end.set()
        self._thread.join()
        self._connection.close()
        return self.most


@pytest.fixture
def capped(make_stack, stack):
    """A stack of four slots whose databases `capped` have a user each, of the test's own.
    capped(source keys, results keys, **options) -> (stack, user of the source, user of the results)."""
    users = []

    def make(source_keys, results_keys=None, **options):
        with stack.db("postgres") as admin:
            for kind in ("src", "dst"):
                users.append(f"{kind}_{len(users)}_{int(time.monotonic() * 1000)}")
                admin.execute(f"CREATE ROLE {users[-1]} SUPERUSER LOGIN")
        src, dst = users[-2:]
        own = make_stack(pg=stack.pg_source, start=False, sql_directories=DIRECTORIES, queues={"default": 4}, **options)
        reports = own.pg_results.url(own._dbs["reports"])
        dsn = stack.pg_source.url("ledger")
        databases = several({"one": source_of(stack.pg_source),
                             "capped": {"type": "postgres", "dsn": dsn.replace("postgres@", src + "@"), **source_keys}})
        own.config["sources"].update(databases["sources"])
        own.config["results"].update({name: {"type": "postgres", "dsn": reports} for name in ("by_key", "by_file", "by_variable")})
        own.config["results"]["capped"] = {"type": "postgres", "dsn": reports.replace("postgres@", dst + "@"), **(results_keys or {})}
        return own.start(), src, dst

    return make


def sessions(own, user):
    return own.query("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", user, db="ledger")[0][0]


def test_max_active_is_never_exceeded(capped):
    """Four slots, at most two connections: never more sessions than that, and all jobs succeed, small results and large."""
    own, src, _ = capped({"max_active": 2})
    sampler = Sampler(own, src)
    jobs = [own.submit("several_capped", 2_000 if i % 3 == 0 else 5, 0.1) for i in range(40)]
    for job_id in jobs:
        job = own.wait(job_id)
        assert job["state"] == "SUCCESS", job
        assert hgetall(own, job_id)["attempt"] == "1"
    assert sampler.end() == {src: 2}


def test_max_active_holds_for_results_databases(capped):
    """One connection to the source, two to the results database and one of the janitor: no deadlock, all jobs succeed."""
    own, src, dst = capped({"max_active": 1}, {"max_active": 2})
    sampler = Sampler(own, src, dst)
    for job_id in [own.submit("several_capped", 500, 0) for _ in range(60)]:
        assert own.wait(job_id)["state"] == "SUCCESS"
    most = sampler.end()
    assert most[src] == 1
    assert most[dst] <= 3


def test_failed_jobs_give_their_connection_back(capped):
    """Jobs that fail in every way leave the one connection to the others."""
    own, _, _ = capped({"max_active": 1}, {"max_active": 1})
    for _ in range(6):
        own.fail("several_capped", "no number", 0)
        own.fail("several_capped", 1, 60, timeout=1)
        job_id = own.submit("several_capped", 1, 60)
        wait_state(own, job_id, "STARTED")
        assert own.delete(f"/jobs/{job_id}").status == 200
        own.succeed("several_capped", 3, 0)


def test_idle_connections_are_closed(capped):
    """idle_lifetime: a second without a job ends the sessions of source and results; the next job opens new ones."""
    own, src, dst = capped({"idle_lifetime": "1s"}, {"idle_lifetime": "1s"})
    own.succeed("several_capped", 5, 0)
    assert sessions(own, src) == 1
    wait_until(lambda: sessions(own, src) == 0, 6 * SLOW, "the end of the idle session")
    wait_until(lambda: sessions(own, dst) == 1, 6 * SLOW, "the janitor's session alone")
    own.succeed("several_capped", 5, 0)
    assert sessions(own, src) == 1


def test_connections_that_idle_for_less_are_kept(capped):
    """Within the lifetime the same session serves one job after the other."""
    own, src, _ = capped({"idle_lifetime": "1m"})
    pids = set()
    for _ in range(5):
        own.succeed("several_capped", 5, 0)
        pids |= {pid for (pid,) in own.query("SELECT pid FROM pg_stat_activity WHERE usename = %s", src, db="ledger")}
    assert len(pids) == 1


@pytest.fixture
def blocked(capped):
    """(stack, the job that has the only connection, a job that waits for it)"""
    own, src, _ = capped({"max_active": 1}, config={"worker": {"drain_timeout": "1s"}})
    holder = own.submit("several_capped", 1, 60)
    wait_until(lambda: own.running_query(holder), 10 * SLOW, "the query of the first job")
    waiter = own.submit("several_capped", 1, 0)
    wait_state(own, waiter, "STARTED")
    return own, holder, waiter


def pending(own):
    return own.r.xpending(own.key("queue:default"), "workers")["pending"]


def test_cancel_of_a_job_that_waits_for_a_connection_works_at_once(blocked):
    """DELETE of the waiting job frees its slot at once; the one that runs is not touched."""
    own, holder, waiter = blocked
    asked = time.monotonic()
    assert own.delete(f"/jobs/{waiter}").status == 200
    wait_until(lambda: f"job lost job={waiter}" in own.workers[0].log_text(), 5 * SLOW, "the end of the wait")
    assert time.monotonic() - asked < 1 * SLOW
    assert pending(own) == 1
    assert own.job(holder)["state"] == "STARTED"
    assert own.running_query(holder)
    assert own.delete(f"/jobs/{holder}").status == 200


def test_job_that_waits_runs_as_soon_as_the_connection_is_free(blocked):
    own, holder, waiter = blocked
    assert own.delete(f"/jobs/{holder}").status == 200
    assert own.wait(waiter, 5)["state"] == "SUCCESS"


def test_wait_for_a_connection_has_the_jobs_time_limit(blocked):
    """Longer than its timeout: FAILURE that says why."""
    own, holder, _ = blocked
    job = own.fail("several_capped", 1, 0, timeout=1)
    assert "source 'capped'" in job["error"], job
    assert "max_active" in job["error"], job
    assert "time limit of 1000 ms" in job["error"], job
    assert own.delete(f"/jobs/{holder}").status == 200


def test_stopping_worker_gives_a_waiting_job_back(blocked):
    """SIGTERM: after drain_timeout both jobs go back to the queue, and the next worker runs them."""
    own, holder, waiter = blocked
    worker = own.workers[0]
    worker.terminate()
    assert worker.wait(15 * SLOW) == 0
    assert own.job(waiter)["state"] == "PENDING"
    assert own.delete(f"/jobs/{holder}").status == 200
    worker.start()
    assert own.wait(waiter)["state"] == "SUCCESS"


# --- passwords


@pytest.fixture(scope="module")
def locked(make_module_stack):
    """A stack whose PostgreSQL wants the password SECRET of the user `locked`."""
    own = make_module_stack(start=False, sql_directories=DIRECTORIES, queues={"default": 2})
    password_file = own.dir / "password"
    password_file.write_text(SECRET + "\n")
    src = own.pg_source.url("ledger").replace("postgres@", "locked@")
    dst = own.pg_results.url("reports").replace("postgres@", "locked@")
    keys = {"by_key": {"password": SECRET}, "by_file": {"password_file": str(password_file)}, "by_variable": {}}
    for name, how in keys.items():
        # what the dsn says is not right: the others come before it
        own.config["results"][name] = {"type": "postgres", "dsn": dst.replace("locked@", "locked:wrong1@"), **how}
        own.config["sources"][name] = {"type": "postgres", "dsn": src.replace("locked@", "locked:wrong2@"), **how}
    own.config["sources"]["wrong"] = {"type": "postgres", "dsn": src, "password": SECRET + "x"}
    own.config["results"]["capped"] = own.config["results"]["reports"]
    for name in ("one", "two", "capped"):
        own.config["sources"][name] = own.config["sources"]["ledger"]
    own.config["sources"]["socket"] = {"type": "postgres", "dsn": own.pg_source.socket_url("ledger")}
    for worker in own.workers:
        worker.env = {"DUNGBEETLE_SOURCES__BY_VARIABLE__PASSWORD": SECRET, "DUNGBEETLE_RESULTS__BY_VARIABLE__PASSWORD": SECRET}
    own.pg_source.start()
    hba = own.pg_source.data / "pg_hba.conf"
    hba.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
    with own.db("postgres") as admin:
        admin.execute("SET standard_conforming_strings = on")
        admin.execute(f"CREATE ROLE locked SUPERUSER LOGIN PASSWORD '{SECRET.replace(chr(39), 2 * chr(39))}'")
        admin.execute("SELECT pg_reload_conf()")
    own.pg_source.stop()
    return own.start()


@pytest.mark.parametrize("how", ["key", "file", "variable"])
def test_password_comes_from_the_configuration(locked, how):
    """The password's key, its file, its variable: source and results connect, whatever the dsn says."""
    job_id = locked.succeed(f"several_{how}", "x")
    assert locked.rows(job_id) == [("x",)]


def test_password_is_in_no_log_error_or_answer(locked, tmp_path):
    """A password that the server refuses: the job waits, says so, and the password stands nowhere."""
    job_id = locked.submit("several_wrong", "x")
    wait_state(locked, job_id, "RETRY")
    error = locked.job(job_id)["error"]
    assert "source 'wrong'" in error
    assert "password authentication failed" in error
    check = locked._program("check", "dungbeetle-worker", "--check", env=locked.workers[0].env).start()
    check.wait(20 * SLOW)
    assert "source wrong: " in check.log_text()
    wait_until(lambda: "password authentication failed" in locked.workers[0].log_text(), 5 * SLOW, "the worker's word")
    texts = [program.log_text() for program in (*locked.programs(), check)] + [error, str(hgetall(locked, job_id))]
    for part in (SECRET, SECRET.split()[0], "wrong1", "wrong2"):
        assert not [text for text in texts if part in text]
    assert locked.delete(f"/jobs/{job_id}").status == 200


def test_password_file_that_is_missing_ends_the_start(locked):
    """Exit status 2 with place, key and path; the FastCGI program, which connects to no database, does not mind."""
    env = {**locked.workers[0].env, "DUNGBEETLE_SOURCES__WRONG__PASSWORD": "", "DUNGBEETLE_SOURCES__WRONG__PASSWORD_FILE": "/nowhere/password"}
    worker = locked._program("no-file", "dungbeetle-worker", env=env).start()
    assert worker.wait(10 * SLOW) == 2
    assert "environment DUNGBEETLE_SOURCES__WRONG__PASSWORD_FILE: expected the path of a file that can be read, got \"/nowhere/password\": No such" in worker.log_text()
    fcgi = locked._program("fcgi-check", "dungbeetle-fcgi", "--check", env=env).start()
    assert fcgi.wait(10 * SLOW) == 0, fcgi.log_text()


@pytest.mark.parametrize(("db", "idle", "user"), [("ledger", "10", "30000"), ("socket", "0", "0")])
def test_sessions_notice_a_host_that_has_vanished(locked, db, idle, user):
    """The server probes our connections: it ends the sessions of a host that is gone. Harmless over a unix socket."""
    for name, value in (("tcp_keepalives_idle", idle), ("tcp_keepalives_interval", "5" if idle != "0" else "0"),
                        ("tcp_keepalives_count", "3" if idle != "0" else "0"), ("tcp_user_timeout", user)):
        job_id = locked.succeed("several_setting", name, db=db)
        assert locked.rows(job_id) == [(value,)], name


@pytest.mark.parametrize("program", ["worker", "fcgi", "expire"])
def test_dsn_that_is_none_ends_the_start(locked, program):
    """Every program says file:line, key and what to write instead, without the secret, and ends with status 2."""
    config = locked.dir / "wrong.yml"
    lines = locked.config_path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("sources:"))
    lines[at + 1:at + 1] = ["  events:", "    type: clickhouse", f"    dsn: tcp://events:9000?username=u&password={SECRET.split()[0]}&database=d"]
    config.write_text("\n".join(lines) + "\n")
    run = Program(f"wrong-{program}", [locked.bin_dir / f"dungbeetle-{program}", "--config", config], locked.dir / f"wrong-{program}.log",
                  env=locked.workers[0].env).start()
    assert run.wait(10 * SLOW) == 2
    said = run.log_text()
    assert f"{config}:{at + 4}: sources.events.dsn: expected http" in said
    assert "http://" in said
    assert SECRET.split()[0] not in said
