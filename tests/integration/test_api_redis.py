"""503: Redis is down, full, read-only or does not answer. Nothing is lost, and all is well again afterwards."""

import time

import pytest

from support import SLOW, uid, wait_until


@pytest.fixture(scope="module")
def own(stack, make_module_stack):
    return make_module_stack(pg=stack.pg_source, config={"redis": {"timeout": "1s", "connect_timeout": "1s"}})


def assert_refused(answer):
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) >= 1


def assert_well(own):
    wait_until(lambda: own.get("/health").status == 200, 10 * SLOW, "health")
    own.succeed("nothing_asked")


def test_redis_down_is_503_for_everything_that_asks_it(own):
    done = own.succeed("nothing_asked")
    own.redis.stop()
    try:
        assert_refused(own.post("/tasks/nothing_asked/jobs", {"job_id": uid()}))
        for path in (f"/jobs/{done}", "/jobs/queue/default", "/groups/x", "/health"):
            assert_refused(own.get(path))
        assert_refused(own.delete(f"/jobs/{done}"))
        assert_refused(own.post("/groups", {"jobs": [{"task": "nothing_asked"}]}))
        assert own.request("GET", "/metrics")[0] == 503
        assert own.get("/").status == 200
        assert own.get("/tasks").status == 200
        assert own.post("/tasks/nothing_asked/jobs", {"job_id": "a b"}).status == 400
    finally:
        own.redis.start()
    assert_well(own)
    assert own.job(done)["state"] == "SUCCESS"


def test_read_only_redis_refuses_jobs_and_still_tells_states(own):
    done = own.succeed("nothing_asked")
    own.redis.cli("CONFIG", "SET", "replica-serve-stale-data", "yes")
    own.redis.cli("REPLICAOF", "127.0.0.1", "1")
    try:
        assert_refused(own.post("/tasks/nothing_asked/jobs", {}))
        assert_refused(own.delete(f"/jobs/{done}?purge=true"))
        assert_refused(own.get("/health"))
        assert own.job(done)["state"] == "SUCCESS"
    finally:
        own.redis.cli("REPLICAOF", "NO", "ONE")
    assert_well(own)


def test_full_redis_refuses_jobs_and_still_tells_states(own):
    done = own.succeed("nothing_asked")
    own.redis.cli("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert_refused(own.post("/tasks/nothing_asked/jobs", {}))
        assert_refused(own.post("/groups", {"jobs": [{"task": "nothing_asked"}]}))
        assert_refused(own.get("/health"))
        assert own.job(done)["state"] == "SUCCESS"
        assert own.get("/jobs/queue/default").data == []
    finally:
        own.redis.cli("CONFIG", "SET", "maxmemory", "0")
    assert_well(own)


def test_a_job_that_runs_while_redis_is_full_is_not_lost(own):
    job_id = own.submit("sleep", 1)
    own.wait(job_id, states=["STARTED"])
    own.redis.cli("CONFIG", "SET", "maxmemory", "1mb")
    wait_until(lambda: not own.running_query(job_id), 10 * SLOW, "end of the query")
    own.redis.cli("CONFIG", "SET", "maxmemory", "0")
    job = own.wait(job_id)
    assert job["state"] == "SUCCESS", job
    assert own.count(job_id) == 1


def test_redis_that_does_not_answer_is_503_after_its_timeout(own):
    own.redis.program.pause()
    try:
        began = time.monotonic()
        answer = own.get("/health")
        took = time.monotonic() - began
    finally:
        own.redis.program.resume()
    assert_refused(answer)
    assert took < 3
    assert_well(own)


def test_redis_that_asks_for_a_password_is_503_and_the_password_is_in_no_log(own):
    own.redis.cli("CONFIG", "SET", "requirepass", "open-sesame")
    try:
        own.redis.cli("-a", "open-sesame", "CLIENT", "KILL", "TYPE", "normal")
        assert_refused(own.get("/health"))
    finally:
        own.redis.cli("-a", "open-sesame", "CONFIG", "SET", "requirepass", "")
    assert_well(own)
    for program in own.programs():
        assert "open-sesame" not in program.log_text()
