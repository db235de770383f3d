"""SIGHUP reads the tasks anew in both programs; a broken file keeps the old set and says why."""

import signal

import pytest
from support import SLOW, wait_until

HEAD = "-- db: ledger\n-- results: reports\n"


@pytest.fixture
def own(stack, make_stack, tmp_path):
    (tmp_path / "first.sql").write_text(f"-- name: first\n{HEAD}SELECT 'old'::text AS v;\n")
    made = make_stack(pg=stack.pg_source, sql_directories=[tmp_path], queues={"default": 2})
    made.sql = tmp_path
    return made


def reload(own, says):
    """Sends SIGHUP to both programs and waits until each has said how it went."""
    lengths = [len(program.log_text()) for program in own.programs()]
    for program in own.programs():
        program.signal(signal.SIGHUP)
    for program, length in zip(own.programs(), lengths):
        wait_until(lambda: says in program.log_text()[length:], 10 * SLOW, f"{says!r} of {program.name}")  # noqa: B023
    return [program.log_text()[length:] for program, length in zip(own.programs(), lengths)]


def test_a_new_task_appears_and_a_changed_one_changes(own):
    assert own.post("/tasks/second/jobs", {}).status == 404
    assert own.rows(own.succeed("first")) == [("old",)]
    (own.sql / "first.sql").write_text(f"-- name: first\n{HEAD}SELECT 'new'::text AS v;\n")
    (own.sql / "second.sql").write_text(f"-- name: second\n{HEAD}SELECT $1::integer AS n;\n")
    reload(own, "tasks re")
    wait_until(lambda: "second" in own.get("/tasks").data, 5, "the new task")
    assert own.rows(own.succeed("first")) == [("new",)]
    assert own.rows(own.succeed("second", 7)) == [(7,)]


def test_a_task_that_is_gone_is_404_afterwards(own):
    (own.sql / "second.sql").write_text(f"-- name: second\n{HEAD}SELECT 2 AS n;\n")
    reload(own, "tasks re")
    own.succeed("second")
    (own.sql / "second.sql").unlink()
    reload(own, "tasks re")
    wait_until(lambda: own.post("/tasks/second/jobs", {}).status == 404, 5, "404")
    assert "second" not in own.get("/tasks").data


@pytest.mark.parametrize(
    "broken",
    ["-- name: first\nSELECT 1;\n", "SELECT 1;\n", "-- name: x\n-- db: nowhere\nSELECT 1;\n", "-- name: x\n-- timeout: soon\nSELECT 1;\n"],
)
def test_a_broken_file_keeps_the_old_set_and_says_why(own, broken):
    path = own.sql / "zz.sql"
    path.write_text(broken)
    for log in reload(own, str(path)):
        assert f"{path}:" in log
        assert " error " in log
    assert list(own.get("/tasks").data) == ["first"]
    own.succeed("first")
    path.unlink()
    reload(own, "tasks re")
    own.succeed("first")


def test_a_missing_directory_keeps_the_old_set(own):
    moved = own.sql.rename(own.sql.with_name("moved"))
    reload(own, str(own.sql))
    own.succeed("first")
    moved.rename(own.sql)


def test_running_and_waiting_jobs_are_not_disturbed(own):
    """What runs goes on with the SQL that it began with; a job of a task that this worker does not know (yet) waits."""
    (own.sql / "slow.sql").write_text(f"-- name: slow\n{HEAD}SELECT 'before'::text AS v FROM pg_sleep($1::double precision);\n")
    reload(own, "tasks re")
    job = own.submit("slow", 1.5)
    wait_until(lambda: own.running_query(job), 10 * SLOW, "the query")
    (own.sql / "slow.sql").write_text(f"-- name: slow\n{HEAD}SELECT 'after'::text AS v FROM pg_sleep($1::double precision);\n")
    reload(own, "tasks re")
    assert own.wait(job)["state"] == "SUCCESS"
    assert own.rows(job) == [("before",)]
    assert own.rows(own.succeed("slow", 0)) == [("after",)]


def test_a_job_of_a_task_that_only_the_web_side_knows_waits_for_a_worker_that_does(own):
    (own.sql / "second.sql").write_text(f"-- name: second\n{HEAD}SELECT 2 AS n;\n")
    own.fcgi[0].signal(signal.SIGHUP)
    wait_until(lambda: "second" in own.get("/tasks").data, 10 * SLOW, "the new task")
    job = own.submit("second")
    own.wait(job, states=["RETRY"])
    assert "second" in own.job(job)["error"]
    own.workers[0].signal(signal.SIGHUP)
    assert own.wait(job)["state"] == "SUCCESS"


def test_reloading_under_load_loses_no_request(own):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(own.post, "/tasks/first/jobs", {}) for _ in range(200)]
        for _ in range(10):
            for program in own.programs():
                program.signal(signal.SIGHUP)
            own.get("/tasks")
        answers = [future.result() for future in futures]
    assert {answer.status for answer in answers} == {200}
    for answer in answers:
        assert own.wait(answer.data["job_id"])["state"] == "SUCCESS"
