"""Many jobs while parts die again and again (promises 1 to 4 together).

FAULT_JOBS=500 makes each storm as large as the project's acceptance wants it; without it they end in about half a minute.
"""

from __future__ import annotations

import itertools
import time

import psycopg
import pytest
from psycopg import sql

from faults_support import (FAULT_JOBS, Crowd, assert_idle, assert_no_strays, fault_options, figure, hgetall, kill_and_restart,
                            post_surely, table_name)
from support import SLOW, uid, wait_until

USERS = 20  # of the session's ledger, with 100 entries each
LIMIT = 110 if not FAULT_JOBS else 120 + FAULT_JOBS * SLOW


def make_jobs(n, tasks=("fault_storm",)):
    """[(id, task, user, times)]: results of 100 to 3,000 rows, small and streamed ones."""
    return [(uid("storm"), task, 1 + i % USERS, (1, 2, 30)[i % 3]) for i, task in zip(range(n), itertools.cycle(tasks))]


def send(stack, jobs, seconds):
    """Two threads POST the jobs, insisting."""
    def work(i, stop):
        for job_id, task, user, times in jobs[i::2]:
            post_surely(stack, task, job_id, [str(user), str(times), str(seconds)])
            if stop.is_set():
                return
    return Crowd(2, work)


def unfinished(stack, jobs):
    """How many of the jobs have not ended, asked in Redis itself; a Redis that is down says: all."""
    try:
        with stack.r.pipeline(transaction=False) as pipe:
            for job_id, *_ in jobs:
                pipe.hget(stack.key(f"job:{job_id}"), "state")
            return sum(state not in ("SUCCESS", "FAILURE") for state in pipe.execute())
    except OSError:
        return len(jobs)
    except Exception as error:  # redis-py has a tree of its own
        if type(error).__module__.startswith("redis"):
            return len(jobs)
        raise


CHECK = ("SELECT count(*), coalesce(sum(hashtextextended(concat_ws('|', id, created_at AT TIME ZONE 'UTC', amount, coalesce(memo, '-'), t), 0)), 0) FROM ")


def expected(stack, user, times, cache={}):
    """(rows, checksum) as the source has it."""
    key = (id(stack), user, times)
    if key not in cache:
        cache[key] = stack.query(CHECK + "entries, generate_series(1, %s) AS t WHERE user_id = %s", times, user, db="ledger")[0]
    return cache[key]


def found(stack, job_id, db):
    return stack.query(sql.SQL(CHECK + "{} AS r").format(table_name(job_id)), db=db)[0]


def plight(stack, jobs):
    """What is known of jobs that do not end: for the message of a failed test."""
    stuck = [(job_id, job) for job_id, *_ in jobs if (job := hgetall(stack, job_id)).get("state") not in ("SUCCESS", "FAILURE")]
    return {"jobs": stuck[:8], "scheduled": stack.r.zrange(stack.key("scheduled"), 0, 9, withscores=True),
            "pending": stack.r.xpending_range(stack.key("queue:default"), "workers", "-", "+", 20),
            "entries": stack.r.xrange(stack.key("queue:default"), count=20)}


def rage(stack, jobs, every, strike, limit):
    """strike() each `every` seconds until all jobs have ended; returns (strikes, seconds)."""
    began = time.monotonic()
    strikes = 0
    next_strike = began + every
    while unfinished(stack, jobs):
        assert time.monotonic() - began < limit, f"not ended after {limit} s: {plight(stack, jobs)}"
        if time.monotonic() >= next_strike:
            strike(strikes)
            strikes += 1
            next_strike = time.monotonic() + every
        time.sleep(0.02)
    return strikes, time.monotonic() - began


def check_all_done(stack, jobs):
    """All SUCCESS, each with the right rows, as many tables as jobs, none stray after expire, Redis idle."""
    bad = [stack.job(job_id) for job_id, *_ in jobs if hgetall(stack, job_id)["state"] != "SUCCESS"]
    assert not bad, (len(bad), bad[:3])
    for job_id, _, user, times in jobs:
        assert found(stack, job_id, "reports") == expected(stack, user, times), job_id
    assert_no_strays(stack, {job_id for job_id, *_ in jobs})
    assert_idle(stack)


def attempts(stack, jobs):
    return sum(int(hgetall(stack, job_id)["attempt"]) for job_id, *_ in jobs)


@pytest.mark.timeout(LIMIT + 60)
def test_storm_of_killed_workers(make_stack, stack):
    """Two workers, one killed -9 each second and restarted, until all jobs are done: all SUCCESS, the right rows in as many
    tables, none stray, streams empty. max_deliveries is 1000, so that deaths by chance do not count as poison."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, queues={"default": 4},
                                     worker={"max_deliveries": 1000, "retry_base": "100ms"}))
    jobs = make_jobs(FAULT_JOBS or 100)
    with send(own, jobs, 0.4):
        # Not as long as the lease (4 s on slow builds): else each takeover comes just before its worker's turn to be killed.
        every = 1.0 if SLOW == 1 else 1.5
        kills, took = rage(own, jobs, every, lambda n: kill_and_restart(own.workers[n % 2]), LIMIT)
    figure("storm of killed workers", f"{len(jobs)} jobs, {kills} kills, {attempts(own, jobs)} runs, {took:.1f} s")
    assert kills >= 3
    check_all_done(own, jobs)


@pytest.mark.timeout(LIMIT + 60)
def test_storm_of_killed_redis(make_stack, stack):
    """Redis killed -9 every 3 s and restarted at once (appendfsync always): all jobs SUCCESS, none lost, none short."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, queues={"default": 4}, redis={"appendfsync": "always"},
                                     worker={"max_deliveries": 1000}))
    jobs = make_jobs(FAULT_JOBS or 160)

    def strike(_):
        own.redis.kill()
        own.redis.start()

    with send(own, jobs, 0.4):
        kills, took = rage(own, jobs, 3.0, strike, LIMIT)
    figure("storm of killed Redis", f"{len(jobs)} jobs, {kills} kills, {attempts(own, jobs)} runs, {took:.1f} s")
    assert kills >= 2
    check_all_done(own, jobs)


@pytest.mark.timeout(LIMIT + 60)
def test_storm_of_everything(make_stack, stack):
    """Worker, Redis, FastCGI process and nginx killed -9 in turn, one each 0.7 s: all jobs SUCCESS, none lost, none double."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, queues={"default": 4}, redis={"appendfsync": "always"},
                                     worker={"max_deliveries": 1000}))
    jobs = make_jobs(FAULT_JOBS or 80)

    def strike(n):
        victim = (own.workers[0], own.redis.program, own.fcgi[0], own.workers[1])[n % 4]
        victim.kill()
        own.redis.start() if victim is own.redis.program else victim.start()

    with send(own, jobs, 0.3):
        kills, took = rage(own, jobs, 0.7 * SLOW, strike, LIMIT)
    figure("storm of everything", f"{len(jobs)} jobs, {kills} kills, {attempts(own, jobs)} runs, {took:.1f} s")
    check_all_done(own, jobs)


@pytest.mark.timeout(LIMIT + 60)
def test_storm_of_crashing_results_server(make_stack):
    """The results server restarted in immediate mode twice, durability relaxed and unlogged: no job lost, no result table
    that lost its rows readable: each job says SUCCESS with a full table, or that its result was lost."""
    own = make_stack(**fault_options(two_servers=True, workers=2, queues={"default": 4}, load=2_000,
                                     worker={"max_deliveries": 1000}))
    jobs = make_jobs(FAULT_JOBS or 160, ("fault_storm_relaxed", "fault_storm_unlogged"))
    total = len(jobs)
    crashes = []

    def strike(_):
        left = unfinished(own, jobs)
        if len(crashes) < 2 and left < total * (2 - len(crashes)) / 3:
            own.pg_results.restart("immediate")
            crashes.append(time.monotonic())

    with send(own, jobs, 0.2):
        _, took = rage(own, jobs, 0.05, strike, LIMIT)
    assert len(crashes) == 2

    # The janitors look each 2 s; then every job tells the truth, and goes on doing so.
    wait_until(lambda: all(worker.log_text().count("results server had crashed") + own.workers[1].log_text().count("results server had crashed") >= 4
                           for worker in own.workers[:1]), 15 * SLOW, "the janitors' looks")
    def liars():
        wrong = []
        for job_id, task, user, times in jobs:
            db = task.rpartition("_")[2]
            job = hgetall(own, job_id)
            try:
                rows = found(own, job_id, db)
            except psycopg.errors.UndefinedTable:
                rows = None
            want = expected(own, user, times)
            if job["state"] == "SUCCESS" and rows != want:
                wrong.append((job_id, "SUCCESS", rows, want))
            elif job["state"] == "FAILURE" and (rows is not None or "lost in a crash" not in job["error"]):
                wrong.append((job_id, job["error"], rows, want))
            elif job["state"] not in ("SUCCESS", "FAILURE"):
                wrong.append((job_id, job["state"]))
        return wrong
    wait_until(lambda: not liars(), 10 * SLOW, f"the truth about {liars()[:3]}")
    states = [hgetall(own, job_id)["state"] for job_id, *_ in jobs]
    figure("storm of a crashing results server",
           f"{total} jobs, 2 crashes, {attempts(own, jobs)} runs, {states.count('FAILURE')} results lost and said so, {took:.1f} s")
    assert states.count("SUCCESS") > 0
    assert_idle(own)
    for db in ("relaxed", "unlogged"):
        kept = {job_id for job_id, task, *_ in jobs if task.endswith(db) and hgetall(own, job_id)["state"] == "SUCCESS"}
        assert_no_strays(own, kept, db)
    # What was lost can be asked for again.
    lost = [job for job in jobs if hgetall(own, job[0])["state"] == "FAILURE"][:3]
    for job_id, task, user, times in lost:
        assert own.run(task, user, times, 0, job_id=job_id)["state"] == "SUCCESS"
        assert found(own, job_id, task.rpartition("_")[2]) == expected(own, user, times)


@pytest.mark.timeout(LIMIT + 60)
def test_storm_of_crashing_results_server_that_forgets_nothing(make_stack):
    """The same with durability full: every job is SUCCESS with all its rows."""
    own = make_stack(**fault_options(two_servers=True, workers=2, queues={"default": 4}, worker={"max_deliveries": 1000}))
    jobs = make_jobs(FAULT_JOBS or 100)
    crashes = []

    def strike(_):
        if len(crashes) < 2 and unfinished(own, jobs) < len(jobs) * (2 - len(crashes)) / 3:
            own.pg_results.restart("immediate")
            crashes.append(time.monotonic())

    with send(own, jobs, 0.2):
        _, took = rage(own, jobs, 0.05, strike, LIMIT)
    assert len(crashes) == 2
    figure("storm of a crashing results server, durability full", f"{len(jobs)} jobs, {attempts(own, jobs)} runs, {took:.1f} s")
    check_all_done(own, jobs)
