"""Traffic control: max_running of a source and of a queue holds for the whole fleet, whatever happens to it."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from support import HERE, QUERIES, ROOT, SANITIZED, SLOW, wait_until

DIRECTORIES = [ROOT / "queries", QUERIES, HERE / "queries_traffic"]
MOST = 3
LEASE = 3 * (2 if SANITIZED else 1)
SPAN = 0.05 * SLOW  # seconds of a query: more than a new connection takes, which a run makes when it has its place


def fleet(make_stack, stack, *, workers=4, slots=10, most=MOST, config=None, **options):
    """Workers whose source `limited` has so many places; `free` is the same database without a limit."""
    own = make_stack(pg=stack.pg_source, start=False, workers=workers, queues={"default": slots, "other": slots}, sql_directories=DIRECTORIES, **options)
    dsn = own.pg_source.url("ledger")
    own.config["sources"]["limited"] = {"type": "postgres", "dsn": dsn, "max_running": most}
    own.config["sources"]["free"] = {"type": "postgres", "dsn": dsn}
    own.config["worker"]["lease"] = f"{LEASE}s"
    for section, keys in (config or {}).items():
        own.config[section] = {**own.config.get(section, {}), **keys}
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

    def now_seen(self):
        """The newest sample (the connection is the thread's)."""
        return self.seen[-1] if self.seen else 0

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


def assert_in_order(ran):
    """Three at once: none begins before one that was queued more than two before it."""
    order = sorted(range(len(ran)), key=lambda i: ran[i][0])
    assert max(abs(place - i) for place, i in enumerate(order)) < MOST, order


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
        jobs = [own.submit("traffic_span", SPAN) for _ in range(200)]
        succeed_all(own, jobs)
    ran = spans(own, jobs)
    assert overlap(ran) == MOST
    assert sampler.most == MOST
    assert len(sampler.seen) > 100
    assert_in_order(ran)
    took = (max(end for _, end in ran) - min(begin for begin, _ in ran)).total_seconds()
    assert took < 200 * SPAN / MOST * 3, "places stay unused"
    assert_nothing_left(own)


@pytest.mark.parametrize(("task", "config"), [("traffic_span", {}), ("traffic_free", {"jobs": {"max_running": {"other": MOST}}})], ids=["of a source", "of a queue"])
def test_a_burst_into_an_idle_fleet_runs_in_its_order(make_stack, stack, task, config):
    """Forty slots claim the first forty at one moment: the places are for the first, not for the fastest."""
    own = fleet(make_stack, stack, config=config)
    for _ in range(5):
        group = own.post("/groups", {"jobs": [{"task": task, "queue": "other", "args": [str(SPAN)]} for _ in range(50)]}).data
        jobs = [job["job_id"] for job in group["jobs"]]
        succeed_all(own, jobs)
        assert_in_order(spans(own, jobs))
    assert_nothing_left(own)


def test_jobs_of_another_source_in_the_same_queue_go_on(make_stack, stack):
    """One worker with two slots, one place: the jobs that wait for it keep no slot, nor those behind them."""
    own = fleet(make_stack, stack, workers=1, slots=2, most=1)
    first = own.submit("traffic_span", 60)
    own.wait(first, states=["STARTED"])
    waiting = [own.submit("traffic_span", 0) for _ in range(20)]
    succeed_all(own, [own.submit("traffic_free", 0) for _ in range(5)])
    assert {own.job(job)["state"] for job in waiting} == {"PENDING"}
    assert {own.job(job)["attempt"] for job in waiting} == {0}
    assert parked(own) == waiting
    assert [entry["ID"] for entry in own.get("/jobs/queue/default").data] == waiting
    assert [entry["ID"] for entry in own.get(f"/jobs/queue/default?after={waiting[4]}&limit=3").data] == waiting[5:8]
    (group,) = own.r.xinfo_groups(own.key("queue:default"))
    assert (group["pending"], own.r.xlen(own.key("queue:default"))) == (1, 21)
    assert own.metric("dungbeetle_queue_waiting", queue="default") == 20
    assert own.metric("dungbeetle_queue_unstarted", queue="default") == 20
    assert own.metric("dungbeetle_queue_oldest_seconds", queue="default") > 0
    assert own.delete(f"/jobs/{first}").status == 200
    succeed_all(own, waiting)
    assert spans(own, waiting) == sorted(spans(own, waiting))
    assert_nothing_left(own)


def test_a_waiting_job_may_run_in_another_of_its_sources(make_stack, stack):
    """A task of two sources: the full one is passed over; nothing is left in its line."""
    own = fleet(make_stack, stack, workers=2, slots=4, most=1)
    first = own.submit("traffic_span", 60)
    own.wait(first, states=["STARTED"])
    succeed_all(own, [own.submit("traffic_either", 0) for _ in range(20)])
    assert own.delete(f"/jobs/{first}").status == 200
    assert_nothing_left(own)


def test_a_cancelled_job_gives_its_place_to_the_next(make_stack, stack):
    """Running jobs and waiting ones are cancelled: those behind them come in their order, never more than three."""
    own = fleet(make_stack, stack, workers=2, slots=4)
    with Sampler(own) as sampler:
        running = [own.submit("traffic_span", 60) for _ in range(MOST)]
        for job in running:
            own.wait(job, states=["STARTED"])
        waiting = [own.submit("traffic_span", 0.3) for _ in range(8)]
        wait_until(lambda: len(parked(own)) == 8, 10 * SLOW, "eight that wait")
        for job in (waiting[0], waiting[3]):
            assert own.delete(f"/jobs/{job}").status == 200
            assert own.get(f"/jobs/{job}").status == 404
        assert len(parked(own)) == 6
        again = own.submit("traffic_span", 0.3, job_id=waiting[0])  # at the end of the line now
        for job in running:
            assert own.delete(f"/jobs/{job}").status == 200
        left = [job for i, job in enumerate(waiting) if i not in (0, 3)] + [again]
        succeed_all(own, left)
    assert_in_order(spans(own, left))
    assert sampler.most == MOST
    assert_nothing_left(own)


def test_failing_and_streaming_runs_keep_the_bound_too(make_stack, stack):
    """Errors of the source, retries, results that are too large, rows that are streamed while others wait."""
    own = fleet(make_stack, stack, workers=3, slots=6, config={"jobs": {"max_rows": 3000}})
    with Sampler(own) as sampler:
        jobs = []
        for _ in range(12):
            jobs.append(own.submit("traffic_rows", 2000, 0.01))
            jobs.append(own.submit("traffic_divide", 0, retries=1))
            jobs.append(own.submit("traffic_rows", 100_000, 0.02))  # too many: broken off
            jobs.append(own.submit("traffic_rows", 50, 0.01, timeout=30))
        ended = [own.wait(job, 60)["state"] for job in jobs]
    assert ended == ["SUCCESS", "FAILURE", "FAILURE", "SUCCESS"] * 12
    assert sampler.most == MOST
    assert_nothing_left(own)


def test_places_of_a_killed_worker_come_back(make_stack, stack):
    """kill -9 of a worker that has all places: its jobs are done by another one after the lease, one at a place."""
    own = fleet(make_stack, stack, workers=1, slots=4)
    with Sampler(own) as sampler:
        jobs = [own.submit("traffic_span", 2) for _ in range(6)]
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run")
        wait_until(lambda: len(parked(own)) == 3, 15 * SLOW, "three that wait")
        held = {place.split()[1] for place in places(own)}
        assert len(held) == MOST
        own.workers[0].kill()
        own.worker("other")
        for job in jobs:
            assert own.wait(job, 60)["state"] == "SUCCESS"
    assert sampler.most == MOST
    assert {job for job in jobs if own.job(job)["attempt"] == 2} == held
    assert {job for job in jobs if own.job(job)["attempt"] == 1} == set(jobs) - held
    assert_nothing_left(own)


def test_a_worker_that_was_stopped_for_long_does_not_exceed_the_bound(make_stack, stack):
    """SIGSTOP past the lease with queries that go on in the source: who takes the jobs over ends those first."""
    own = fleet(make_stack, stack, workers=1, slots=4)
    (zombie,) = own.workers
    with Sampler(own) as sampler:
        jobs = [own.submit("traffic_span", 4 * LEASE if i < MOST else 0.2) for i in range(MOST + 4)]
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run")
        zombie.pause()
        own.worker("other")
        wait_until(lambda: {own.job(job)["worker"] for job in jobs[:MOST]} == {"other"}, 30 * SLOW, "the jobs to move on")
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run again")
        zombie.resume()
        for job in jobs:
            assert own.wait(job, 90)["state"] == "SUCCESS"
    assert sampler.most == MOST
    assert_nothing_left(own)


def test_a_worker_that_is_stopped_in_order_gives_its_places_back(make_stack, stack):
    """SIGTERM with a short drain: the jobs are given back without cost, and come before those that wait."""
    own = fleet(make_stack, stack, workers=1, slots=4, config={"worker": {"drain_timeout": "100ms"}})
    with Sampler(own) as sampler:
        running = [own.submit("traffic_span", 2) for _ in range(MOST)]
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run")
        waiting = [own.submit("traffic_span", 0.1) for _ in range(4)]
        wait_until(lambda: len(parked(own)) == 4, 15 * SLOW, "four that wait")
        own.worker("other")
        own.workers[0].stop()
        succeed_all(own, running + waiting)
    assert sampler.most == MOST
    ran = spans(own, running + waiting)
    assert max(began for began, _ in ran[:MOST]) < min(began for began, _ in ran[MOST + 1 :])
    assert_nothing_left(own)


def test_redis_restarted_while_jobs_run_and_wait(make_stack, stack):
    """Redis goes and comes back (with its append-only file): all jobs end, the bound holds."""
    own = fleet(make_stack, stack, workers=2, slots=6)
    with Sampler(own) as sampler:
        jobs = [own.submit("traffic_span", 0.3) for _ in range(30)]
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run")
        own.redis.stop()
        time.sleep(1)
        own.redis.start()
        for job in jobs:
            assert own.wait(job, 60)["state"] == "SUCCESS"
    assert sampler.most == MOST
    assert_nothing_left(own)


def test_runs_end_when_their_places_cannot_be_renewed(make_stack, stack):
    """Redis away for longer than a place's lease: the queries are broken off, and done again when it is back, at no cost."""
    own = fleet(make_stack, stack, workers=2, slots=4)
    with Sampler(own) as sampler:
        jobs = [own.submit("traffic_span", 3 * LEASE) for _ in range(MOST + 2)]
        wait_until(lambda: sampler.now_seen() == MOST, 15 * SLOW, "three that run")
        own.redis.stop()
        wait_until(lambda: sampler.now_seen() == 0, 2 * LEASE + 20 * SLOW, "the end of the queries")
        own.redis.start()
        for job in jobs:
            assert own.wait(job, 120)["state"] == "SUCCESS"
    assert sampler.most == MOST
    assert_nothing_left(own)


def test_jobs_of_a_limited_queue(make_stack, stack):
    """jobs.max_running: three of the queue at once in four workers, first in first out; the other queue goes on."""
    own = fleet(make_stack, stack, most=0, config={"jobs": {"max_running": {"other": MOST}}})
    with Sampler(own, "traffic in free") as sampler:
        jobs = [own.submit("traffic_free", SPAN, queue="other") for _ in range(100)]
        succeed_all(own, [own.submit("nothing_asked") for _ in range(5)])
        succeed_all(own, jobs)
    ran = spans(own, jobs)
    assert overlap(ran) == sampler.most == MOST
    assert_in_order(ran)
    assert_nothing_left(own)


def test_a_limited_source_in_a_limited_queue(make_stack, stack):
    """Both numbers hold: two of the queue at once, one of them in the source."""
    own = fleet(make_stack, stack, workers=3, slots=5, most=1, config={"jobs": {"max_running": {"other": 2}}})
    jobs = [own.submit("traffic_span" if i % 2 else "traffic_free", 0.05, queue="other") for i in range(40)]
    elsewhere = [own.submit("traffic_span", 0.05) for _ in range(10)]
    succeed_all(own, jobs + elsewhere)
    assert overlap(spans(own, jobs)) <= 2
    assert overlap(spans(own, jobs[1::2] + elsewhere)) == 1
    assert_nothing_left(own)


def test_waiting_jobs_start_when_the_limit_is_taken_away(make_stack, stack):
    """The fleet is started again without max_running: what waited for a place runs."""
    own = fleet(make_stack, stack, workers=1, slots=4, most=1)
    first = own.submit("traffic_span", 60)
    own.wait(first, states=["STARTED"])
    waiting = [own.submit("traffic_span", 0) for _ in range(5)]
    wait_until(lambda: len(parked(own)) == 5, 15 * SLOW, "five that wait")
    (worker,) = own.workers
    worker.kill()
    own.config["sources"]["limited"]["max_running"] = 0
    own.write_config()
    worker.start()
    succeed_all(own, waiting)
    assert own.delete(f"/jobs/{first}").status == 200


def test_a_group_keeps_its_own_bound_and_the_sources(make_stack, stack):
    """A group's jobs wait like any others; the group has not begun while none of them has a place."""
    own = fleet(make_stack, stack, workers=2, slots=4, most=1)
    first = own.submit("traffic_span", 60)
    own.wait(first, states=["STARTED"])
    group = own.post("/groups", {"concurrency": 2, "jobs": [{"task": "traffic_span", "args": ["0.05"]} for _ in range(6)]}).data
    jobs = [job["job_id"] for job in group["jobs"]]
    wait_until(lambda: len(parked(own)) == 2, 15 * SLOW, "as many as the group lets out")
    assert own.get(f"/groups/{group['group_id']}").data["state"] == "PENDING"
    assert own.delete(f"/jobs/{first}").status == 200
    succeed_all(own, jobs)
    assert overlap(spans(own, jobs)) == 1
    assert own.get(f"/groups/{group['group_id']}").data["state"] == "SUCCESS"
    assert_nothing_left(own)


def test_a_source_without_room_for_more_connections_pauses_its_jobs(make_stack, stack):
    """CONNECTION LIMIT 0 of the role: jobs wait and cost no retry, others go on; with room again they run by themselves."""
    own = fleet(make_stack, stack, workers=2, slots=4, config={"worker": {"retry_base": "100ms", "retry_max": "1s"}})
    role = f"traffic_{uuid.uuid4().hex[:8]}"
    with own.db("ledger") as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    try:
        for worker in own.workers:
            worker.stop()
        own.config["sources"]["limited"]["dsn"] = own.pg_source.url("ledger").replace("postgres@", f"{role}@", 1)
        own.write_config()
        for worker in own.workers:
            worker.start()
            own.wait_worker(worker)
        jobs = [own.submit("traffic_span", 0.05) for _ in range(20)]
        wait_until(lambda: {own.job(job)["state"] for job in jobs} <= {"RETRY", "PENDING", "STARTED"} and own.job(jobs[0])["state"] == "RETRY", 20 * SLOW, "jobs that wait")
        assert "too many connections" in own.job(jobs[0])["error"], own.job(jobs[0])
        succeed_all(own, [own.submit("traffic_free", 0) for _ in range(5)])
        wait_until(lambda: own.metric("dungbeetle_source_paused", db="limited") == 2, 2 * LEASE * SLOW, "both workers to say so")
        assert own.metric("dungbeetle_source_paused", db="free") == 0
        assert own.get("/queues").data["sources"]["limited"]["paused"] == 2
        with own.db("ledger") as admin:
            admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        for job in jobs:
            found = own.wait(job, 60)
            assert found["state"] == "SUCCESS", found
            assert own.r.hget(own.key(f"job:{job}"), "retried") is None
        assert overlap(spans(own, jobs)) <= MOST
        # A worker that has had no job for it since does not know yet.
        wait_until(lambda: own.succeed("traffic_span", 0) and own.metric("dungbeetle_source_paused", db="limited") == 0, 60 * SLOW, "the end of the pause")
        assert_nothing_left(own)
    finally:
        for worker in own.workers:
            worker.stop()
        with own.db("ledger") as admin:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_what_runs_and_waits_is_shown(make_stack, stack):
    """GET /queues and /metrics: places taken, waited for, and how many there are."""
    own = fleet(make_stack, stack, workers=2, slots=4, most=2, config={"jobs": {"max_running": {"other": 1}}})
    jobs = [own.submit("traffic_span", 60) for _ in range(5)]
    jobs += [own.submit("traffic_free", 60, queue="other") for _ in range(2)]

    def shown():
        data = own.get("/queues").data
        source, default, other = data["sources"]["limited"], data["queues"]["default"], data["queues"]["other"]
        return (source["running"], source["waiting"], default["parked"], other["running"], other["waiting"]) == (2, 3, 3, 1, 1) and data

    data = wait_until(shown, 20 * SLOW, "all of it")
    assert data["sources"]["limited"] == {"running": 2, "waiting": 3, "max_running": 2, "paused": 0}
    assert data["sources"]["free"] == {"running": None, "waiting": None, "max_running": 0, "paused": 0}
    assert (data["queues"]["default"]["running"], data["queues"]["default"]["waiting"], data["queues"]["default"]["max_running"]) == (2, 3, 0)
    assert (data["queues"]["other"]["max_running"], data["queues"]["other"]["unstarted"]) == (1, 1)
    assert own.metric("dungbeetle_source_running", db="limited") == 2
    assert own.metric("dungbeetle_source_waiting", db="limited") == 3
    assert own.metric("dungbeetle_source_max_running", db="limited") == 2
    assert own.metric("dungbeetle_queue_parked", queue="default") == 3
    assert own.metric("dungbeetle_queue_max_running", queue="other") == 1
    for job in reversed(jobs):
        assert own.delete(f"/jobs/{job}").status == 200
    assert_nothing_left(own)


def test_a_queue_is_left_alone_when_a_thousand_wait_for_a_source(make_stack, stack):
    """What lies behind the thousandth job of a full source waits in the stream; it goes on when there are fewer."""
    own = fleet(make_stack, stack, workers=1, slots=4, most=1)
    first = own.submit("traffic_span", 600)
    own.wait(first, states=["STARTED"])
    group = own.post("/groups", {"jobs": [{"task": "traffic_span", "args": ["0"]} for _ in range(1000)]}).data
    more = own.post("/groups", {"jobs": [{"task": "traffic_span", "args": ["0"]} for _ in range(100)]}).data
    wait_until(lambda: len(parked(own)) >= 1000, 60 * SLOW, "a thousand that wait")
    behind = own.submit("traffic_free", 0)
    time.sleep(3)  # nothing happens: there is no event
    assert 1000 <= len(parked(own)) <= 1010
    assert own.job(behind)["state"] == "PENDING"
    assert own.delete(f"/groups/{more['group_id']}").status == 200
    assert own.delete(f"/jobs/{first}").status == 200
    assert own.wait(behind, 60)["state"] == "SUCCESS"
    wait_until(lambda: own.get(f"/groups/{group['group_id']}").data["state"] == "SUCCESS", 120 * SLOW, "the end of all")
    assert_nothing_left(own)
