"""Redis that dies, forgets, or is full (promises 1, 4, 10)."""

from __future__ import annotations

import time

from faults_support import LEASE, Gate, assert_idle, assert_no_strays, elapsed, fault_options, figure, hgetall, insist
from support import SLOW, uid, wait_until


def kill_redis(stack):
    """kill -9 and a new process."""
    stack.redis.kill()
    stack.redis.start()


def test_redis_killed_loses_no_job(make_stack, stack):
    """Redis killed -9 and restarted (appendfsync always) while jobs are queued, scheduled and running: all are done."""
    own = make_stack(**fault_options(pg=stack.pg_source, redis={"appendfsync": "always"}))
    with Gate(own) as gate:
        running = [own.submit("fault_gated", rows, 1, gate.key) for rows in (50, 5_000)]
        gate.await_waiting(2)
        queued = [own.submit("fault_quick", i) for i in range(20)]
        eta = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 2))
        scheduled = [own.submit("fault_quick", i, eta=eta) for i in range(10)]
        for _ in range(3):
            kill_redis(own)
            assert [hgetall(own, job)["state"] for job in running] == ["STARTED"] * 2
            assert {hgetall(own, job)["state"] for job in queued + scheduled} == {"PENDING"}
        gate.open()
        for job_id in running + queued + scheduled:
            job = own.wait(job_id)
            assert (job["state"], job["attempt"]) == ("SUCCESS", 1), job
    assert own.count(running[1]) == 5_000
    assert_idle(own)
    assert_no_strays(own, set(running + queued + scheduled))


def test_run_that_ends_while_redis_is_down_counts(make_stack, stack):
    """A query that ends while Redis is away for less than the lease is not run again: its end is told when Redis is back."""
    own = make_stack(**fault_options(pg=stack.pg_source, redis={"appendfsync": "always"}, worker={"lease": "20s"}))
    with Gate(own) as gate:
        job_id = own.submit("fault_gated", 100, 1, gate.key)
        gate.await_waiting()
        own.redis.kill()
        gate.open()
        wait_until(lambda: (own.registry(job_id) or {}).get("table_name"), 15 * SLOW, "the registry row")
        status, _, headers = own.request("POST", "/tasks/fault_quick/jobs", {"job_id": uid(), "args": ["x"]})
        assert status == 503
        assert "retry-after" in headers
        own.redis.start()
        job = own.wait(job_id)
        assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 1, 100), job
    assert_idle(own)


def test_redis_away_longer_than_the_lease(make_stack, stack):
    """Redis away for longer than the lease while jobs run: nothing is lost, each job has one whole result."""
    own = make_stack(**fault_options(pg=stack.pg_source, workers=2, redis={"appendfsync": "always"}))
    with Gate(own) as gate:
        jobs = [own.submit("fault_gated", rows, 1, gate.key) for rows in (50, 5_000, 60, 6_000)]
        gate.await_waiting(4)
        own.redis.kill()
        down = time.monotonic()
        wait_until(lambda: time.monotonic() > down + LEASE + 1, LEASE + 5, "the end of the lease")
        gate.open()
        own.redis.start()
        for job_id, rows in zip(jobs, (50, 5_000, 60, 6_000)):
            job = own.wait(job_id)
            assert (job["state"], job["count"]) == ("SUCCESS", rows), job
            assert own.count(job_id) == rows
    assert_idle(own)
    assert_no_strays(own, set(jobs))


def test_flushall_is_survived(make_stack, stack):
    """FLUSHALL while the worker runs: what was queued is gone, new jobs are served; stream and group are made anew."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 2, "other": 1}))
    with Gate(own) as gate:
        lost = own.submit("fault_gated", 100, 1, gate.key)
        gate.await_waiting()
        own.r.flushall()
        flushed = time.monotonic()
        for queue in ("default", "other"):
            job_id = own.submit("fault_quick", "after", queue=queue)
            job = own.wait(job_id)
            assert job["state"] == "SUCCESS", job
        figure("first jobs done after FLUSHALL", elapsed(flushed))
        gate.open()
        wait_until(lambda: not own.running_query(lost), 10 * SLOW, "the end of the forgotten run")
        assert own.get(f"/jobs/{lost}").status == 404
        wait_until(lambda: f"job lost job={lost}" in own.workers[0].log_text(), 10 * SLOW, "the word that it is lost")
        wait_until(lambda: not own.has_table(lost), 5 * SLOW, "no table of the forgotten job")
    assert_idle(own)


def test_full_redis_takes_nothing_and_lets_running_jobs_finish(make_stack, stack):
    """maxmemory reached: POST answers 503 and changes nothing; running and queued jobs still finish; DELETE works."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    with Gate(own) as gate:
        running = [own.submit("fault_gated", rows, 1, gate.key) for rows in (50, 5_000)]
        gate.await_waiting(2)
        queued = [own.submit("fault_quick", i) for i in range(5)]
        unwanted = own.submit("fault_quick", "unwanted")
        soon = own.submit("fault_quick", "soon", eta=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 2)))
        own.r.config_set("maxmemory", "1mb")
        keys = {key: own.r.type(key) for key in own.r.keys("*")}
        length = own.r.xlen(own.key("queue:default"))
        refused = uid("refused")
        for path, body in (("/tasks/fault_quick/jobs", {"job_id": refused, "args": ["x"]}),
                           ("/groups", {"group_id": uid("g"), "jobs": [{"task": "fault_quick", "args": ["x"], "job_id": refused}]})):
            answer = own.post(path, body)
            assert answer.status == 503, answer
            assert "retry-after" in answer.headers
        assert own.request("GET", "/health")[0] == 503
        assert own.r.xlen(own.key("queue:default")) == length
        assert {key: own.r.type(key) for key in own.r.keys("*")} == keys
        assert own.get(f"/jobs/{refused}").status == 404
        assert own.delete(f"/jobs/{unwanted}").status == 200
        gate.open()
        for job_id in [*running, *queued, soon]:
            job = own.wait(job_id)
            assert job["state"] == "SUCCESS", job
        own.r.config_set("maxmemory", "0")
        own.succeed("fault_quick", "room again")
    assert_idle(own)


def test_read_only_redis_is_503(make_stack, stack):
    """A Redis that cannot write (read-only replica): POST answers 503; it is served again when Redis is."""
    own = make_stack(**fault_options(pg=stack.pg_source))
    own.r.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        answer = own.post("/tasks/fault_quick/jobs", {"job_id": uid("ro"), "args": ["x"]})
        assert answer.status == 503, answer
    finally:
        own.r.execute_command("REPLICAOF", "NO", "ONE")
    status, _ = insist(own, "POST", "/tasks/fault_quick/jobs", {"job_id": (job_id := uid("rw")), "args": ["x"]})
    assert status == 200
    assert own.wait(job_id)["state"] == "SUCCESS"


def test_group_limit_survives_a_killed_redis(make_stack, stack):
    """A group with concurrency 1: never two of its jobs at once, none lost, although Redis is killed -9 twice."""
    own = make_stack(**fault_options(pg=stack.pg_source, queues={"default": 4}, redis={"appendfsync": "always"}))
    group = uid("group")
    jobs = [{"task": "span", "job_id": uid("span"), "args": ["0.2"]} for _ in range(8)]
    assert own.post("/groups", {"group_id": group, "concurrency": 1, "jobs": jobs}).status == 200
    for n in (2, 5):
        wait_until(lambda n=n: sum(hgetall(own, job["job_id"]).get("state") == "SUCCESS" for job in jobs) >= n, 20 * SLOW, f"{n} jobs done")
        kill_redis(own)
    for job in jobs:
        assert own.wait(job["job_id"])["state"] == "SUCCESS"
    spans = sorted(own.rows(job["job_id"])[0] for job in jobs)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:])), spans
    assert own.get(f"/groups/{group}").data["state"] == "SUCCESS"
    assert_idle(own)


def test_redis_that_stalls(make_stack, stack):
    """Redis stopped (SIGSTOP) for longer than every time limit, then let go: requests get 503, not silence; what was asked
    in vain is done at most once; jobs that ran meanwhile end at their first attempt; entries handed to connections that
    were given up are found again."""
    own = make_stack(**fault_options(pg=stack.pg_source, worker={"lease": "60s"}, config={"redis": {"timeout": "1s", "connect_timeout": "1s"}}))
    with Gate(own) as gate:
        running = own.submit("fault_gated", 100, 1, gate.key)
        gate.await_waiting()
        own.redis.program.pause()
        try:
            gate.open()
            asked = time.monotonic()
            ids = [uid("stalled") for _ in range(3)]
            for job_id in ids:
                assert own.post("/tasks/fault_quick/jobs", {"job_id": job_id, "args": ["x"]}).status == 503
                assert own.request("GET", "/health")[0] == 503
            figure("answers 503 while Redis stalls, redis.timeout 1 s", f"6 requests in {time.monotonic() - asked:.1f} s")
            wait_until(lambda: time.monotonic() > asked + 7, 10, "the end of the slots' blocking reads")
        finally:
            own.redis.program.resume()
        job = own.wait(running)
        assert (job["state"], job["attempt"], job["count"]) == ("SUCCESS", 1, 100), job
        for job_id in ids:
            status, _ = insist(own, "POST", "/tasks/fault_quick/jobs", {"job_id": job_id, "args": ["x"]})
            assert status in (200, 409)
            assert own.wait(job_id)["state"] == "SUCCESS"
    assert_idle(own)
