"""503: Redis is down, full, read-only or does not answer. Nothing is lost, and all is well again afterwards."""

import os
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def post_together(own, job_ids, queues=("",)):
    """POSTs that reach the FastCGI process while Redis stands still, so that it sends many of them as one call."""
    own.redis.program.pause()
    try:
        with ThreadPoolExecutor(len(job_ids)) as pool:
            posts = [pool.submit(own.post, "/tasks/nothing_asked/jobs", {"job_id": job_id, "queue": queues[i % len(queues)]})
                     for i, job_id in enumerate(job_ids)]
            wait_until(lambda: sockets_of_nginx(own) >= 2 * len(job_ids), 10 * SLOW, "nginx has passed all of them on")
            own.redis.program.resume()
            return [post.result() for post in posts]
    finally:
        own.redis.program.resume()


def sockets_of_nginx(own):
    """Two for each request under way: the client's and the FastCGI process'."""
    master = own.nginx.program.pid
    worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
    return sum(os.readlink(fd).startswith("socket:") for fd in Path(f"/proc/{worker}/fd").iterdir())


def test_jobs_of_many_requests_in_one_call_are_each_for_itself(own):
    before = own.r.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    ids = [uid() for _ in range(40)]
    own.r.set(own.key(f"job:{ids[20]}"), "not a job")
    own.r.hset(own.key(f"job:{ids[30]}"), "state", "STARTED")
    answers = post_together(own, ids)
    assert [answer.status for answer in answers] == [500 if i == 20 else 409 if i == 30 else 200 for i in range(40)], answers
    assert own.r.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 200  # 39 jobs start and finish, and beats
    for i, job_id in enumerate(ids):
        if i not in (20, 30):
            assert own.wait(job_id)["state"] == "SUCCESS"
    own.r.delete(own.key(f"job:{ids[20]}"), own.key(f"job:{ids[30]}"))


def test_jobs_for_several_queues_go_as_one_call_each_and_every_one_to_its_own(own):
    calls = lambda: own.r.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]  # noqa: E731
    before, queues = calls(), ("aside-0", "aside-1", "aside-2")
    ids = [uid() for _ in range(39)]
    own.r.hset(own.key(f"job:{ids[4]}"), "state", "STARTED")
    answers = post_together(own, ids, queues)
    assert calls() - before < 30
    assert [answer.status for answer in answers] == [409 if i == 4 else 200 for i in range(39)]
    assert [(answer.data["job_id"], answer.data["queue"]) for answer in answers if answer.status == 200] == [
        (job_id, queues[i % 3]) for i, job_id in enumerate(ids) if i != 4]
    for i, queue in enumerate(queues):
        entries = [fields["job"] for _, fields in own.r.xrange(own.key(f"queue:{queue}"))]
        assert sorted(entries) == sorted(job_id for job_id in ids[i::3] if job_id != ids[4])
        own.r.delete(own.key(f"queue:{queue}"))
    own.r.delete(*(own.key(f"job:{job_id}") for job_id in ids))


def test_jobs_in_one_call_are_accepted_once_by_a_redis_that_has_forgotten_its_scripts(own):
    own.r.script_flush()
    ids = [uid() for _ in range(40)]
    accepted = own.metric("dungbeetle_jobs_accepted_total", task="nothing_asked", queue="default")
    assert {answer.status for answer in post_together(own, ids)} == {200}
    for job_id in ids:
        assert own.wait(job_id)["state"] == "SUCCESS"
    assert own.metric("dungbeetle_jobs_accepted_total", task="nothing_asked", queue="default") == accepted + 40


class FakeRedis(socketserver.ThreadingTCPServer):
    """Answers every command with one reply; None: closes the connection instead."""

    allow_reuse_address = True
    daemon_threads = True
    reply: bytes | None = b"+OK\r\n"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FakeConnection)


class FakeConnection(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            for _ in range(int(line[1:])):
                self.rfile.read(int(self.rfile.readline()[1:]) + 2)
            if self.server.reply is None:
                return
            self.wfile.write(self.server.reply)


@pytest.fixture(scope="module")
def fake(stack, make_module_stack):
    """A FastCGI process with a Redis that says whatever a test wants."""
    with FakeRedis() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = make_module_stack(pg=stack.pg_source, workers=0, start=False)
        made.config["redis"] = {"url": f"redis://127.0.0.1:{server.server_address[1]}", "timeout": "1s"}
        made.write_config()
        made.fcgi[0].start()
        made.nginx.start()
        wait_until(lambda: made.request("GET", "/")[0] == 200, 10 * SLOW, "an answer", made.fcgi)
        made.fake = server
        yield made
        server.shutdown()


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots, but it cannot\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        None,
        b"nonsense\r\n",
    ],
)
def test_whatever_stands_in_redis_way_is_503(fake, reply):
    fake.fake.reply = reply
    for answer in (
        fake.post("/tasks/nothing_asked/jobs", {}),
        fake.get("/health"),
        fake.get("/jobs/x"),
        fake.get("/jobs/queue/x"),
        fake.delete("/groups/x"),
    ):
        assert_refused(answer)


@pytest.mark.parametrize(
    "reply", [b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*0\r\n", b"*1\r\n$2\r\nhi\r\n", b"*-1\r\n", b"-ERR something new\r\n", b"$0\r\n\r\n"]
)
def test_replies_that_no_redis_gives_crash_nothing_and_accept_nothing(fake, reply):
    """Another server behind the address, or a future version: an answer in our envelope, and never a job accepted by mistake."""
    fake.fake.reply = reply
    assert fake.post("/tasks/nothing_asked/jobs", {}).status in (500, 503)
    for path in ("/health", "/jobs/x", "/jobs/queue/x", "/groups/x"):
        fake.get(path)
    fake.delete("/jobs/x")
    fake.request("GET", "/metrics")
    assert fake.fcgi[0].alive()
