"""503: Redis is down, full, read-only or does not answer. Nothing is lost, and all is well again afterwards."""

import socketserver
import threading
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
        b"*1000000000\r\n",
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
