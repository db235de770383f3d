"""Traffic control: max_running of a source and of a queue holds for the whole fleet, whatever happens to it."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from faults_support import hgetall
from support import HERE, QUERIES, ROOT, SANITIZED, SLOW, uid, wait_until

DIRECTORIES = [ROOT / "queries", QUERIES, HERE / "queries_traffic"]
MOST = 3
LEASE = 3 * (2 if SANITIZED else 1)


def fleet(make_stack, stack, *, workers=4, slots=10, most=MOST, config=None, **options):
    """Workers whose source `limited` has so many places; `free` is the same database without a limit."""
    own = make_stack(pg=stack.pg_source, start=False, workers=workers, queues={"default": slots, "other": slots}, sql_directories=DIRECTORIES, **options)
    dsn = own.pg_source.url("ledger")
    own.config["sources"]["limited"] = {"type": "postgres", "dsn": dsn, "max_running": most}
    own.config["sources"]["free"] = {"type": "postgres", "dsn": dsn}
    own.config["worker"]["lease"] = f"{LEASE}s"
    for section, keys in (config or {}).items():
        own.config[section].update(keys)
    return own.start()


class Sampler:
    """What the source runs of a fleet, looked at every 10 ms."""

    def __init__(self, own, mark="traffic in limited"):
        self.connection = own.db("ledger")
        self.mark = mark
        self.seen = []  # how many at once, in each sample
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def now(self):
        return self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE %s AND application_name <> ''",
            (f"%{self.mark}%",),
        ).fetchone()[0]

    def _run(self):
        while not self.done.is_set():
            self.seen.append(self.now())
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.connection.close()

    @property
    def most(self):
        return max(self.seen, default=0)


def overlap(spans):
    """The most that ran at one moment, by what the queries themselves have written down."""
    events = sorted(event for began, ended in spans for event in ((began, 1), (ended, -1)))
    most = running = 0
    for _, step in events:
        running += step
        most = max(most, running)
    return most


def spans(own, jobs):
    return [own.rows(job)[0][:2] for job in jobs]


def places(own, thing="db:limited"):
    return own.r.zrange(own.key(f"running:{thing}"), 0, -1)


def parked(own, queue="default"):
    return own.r.zrange(own.key(f"parked:{queue}"), 0, -1)


def assert_nothing_left(own):
    wait_until(lambda: not places(own), 10 * SLOW, "the places to be free")
    for name in ("wanting:db:limited", "parked:default", "parked:other", "waiting:default", "handed"):
        assert not own.r.exists(own.key(name)), name
    for queue in ("default", "other"):
        wait_until(lambda queue=queue: own.r.xlen(own.key(f"queue:{queue}")) == 0, 10 * SLOW, "an empty stream")


def succeed_all(own, jobs, timeout=60):
    for job in jobs:
        found = own.wait(job, timeout)
        assert found["state"] == "SUCCESS", found
        assert found["attempt"] == 1, found


def test_four_workers_of_ten_slots_never_run_more_than_three_in_the_source(make_stack, stack):
    """max_running: 3, sampled every 10 ms: three at once, never more; all jobs end, first in first out."""
    own = fleet(make_stack, stack)
    with Sampler(own) as sampler:
        jobs = [own.submit("traffic_span", 0.05) for _ in range(200)]
        succeed_all(own, jobs)
    ran = spans(own, jobs)
    assert overlap(ran) == MOST
    assert sampler.most == MOST
    assert len(sampler.seen) > 100
    # Three at once: none begins before one that was queued more than two before it.
    order = sorted(range(len(jobs)), key=lambda i: ran[i][0])
    assert max(abs(place - i) for place, i in enumerate(order)) < MOST, order
    took = (max(end for _, end in ran) - min(begin for begin, _ in ran)).total_seconds()
    assert took < 200 * 0.05 / MOST * 3 * SLOW, "places stay unused"
    assert_nothing_left(own)
