"""How runs end that do not succeed: retries, limits, wrong queries."""

import time

import psycopg
import pytest
from support import SLOW, uid, wait_until

TIMED = ["timed", "timed_raw"]


def nothing_left(stack, job_id, db="reports"):
    assert not stack.has_table(job_id, db)
    assert not {name for name in stack.tables(db) if "staging" in name}
    row = stack.registry(job_id, db)
    assert row is None or row["table_name"] is None


def test_a_transient_failure_is_retried_with_a_growing_wait_and_then_is_failure(stack):
    began = time.monotonic()
    job = stack.fail("timed", 30, retries=3)
    took = time.monotonic() - began
    assert job["attempt"] == 4
    assert "300 ms" in job["error"]
    assert took >= 4 * 0.3 + (0.05 + 0.1 + 0.2)  # the least that base 100 ms with half of it jitter can be
    nothing_left(stack, job["job_id"])


def test_a_job_that_succeeds_in_a_later_attempt_is_success(stack):
    """A query that waits for a lock fails by its time limit until the lock is gone."""
    with stack.db("ledger") as blocker:
        blocker.execute("BEGIN; LOCK TABLE test_gate IN ACCESS EXCLUSIVE MODE")
        job_id = stack.submit("gate", retries=20)
        stack.wait(job_id, states=["RETRY"])
        found = stack.job(job_id)
        assert found["state"] in ("RETRY", "STARTED", "PENDING")
        blocker.execute("COMMIT")
    job = stack.wait(job_id)
    assert job["state"] == "SUCCESS"
    assert job["attempt"] >= 2
    assert job["error"] == ""
    assert stack.rows(job_id) == [(0,)]


def test_retries_of_the_request_come_before_the_tasks(stack):
    assert stack.fail("timed_retries", 5)["attempt"] == 3
    assert stack.fail("timed_retries", 5, retries=1)["attempt"] == 2


def test_a_job_in_retry_can_be_deleted(stack):
    job_id = stack.submit("timed", 30, retries=50)
    stack.wait(job_id, states=["RETRY"])
    assert stack.delete(f"/jobs/{job_id}").data is True
    assert stack.get(f"/jobs/{job_id}").status == 404
    stack.fail("timed", 30)  # two rounds later
    assert stack.get(f"/jobs/{job_id}").status == 404


@pytest.mark.parametrize(
    ("task", "args", "says"),
    [
        ("divide", [0], "division by zero"),
        ("divide", ["x"], "integer"),
        ("unknown_table", [], "there_is_no_such_table"),
        ("bad_syntax", [], "syntax"),
        ("writes", [1], "read-only"),
        ("writes_raw", [], "read-only"),
        ("divide", [None, 1], "takes 1 argument"),
    ],
)
def test_a_permanent_error_is_failure_at_once_and_says_why(stack, task, args, says):
    job = stack.fail(task, *args, retries=3)
    assert says in job["error"]
    assert job["attempt"] <= 1
    nothing_left(stack, job["job_id"])


@pytest.mark.parametrize("task", ["breaks_late", "breaks_late_copied"])
def test_a_query_that_breaks_after_many_rows_publishes_nothing(stack, task):
    job = stack.fail(task, *([100000] if task == "breaks_late" else []))
    assert "division by zero" in job["error"]
    assert job["count"] == 0
    nothing_left(stack, job["job_id"])


def test_a_failure_leaves_the_old_result_of_the_id_readable(stack):
    job_id = stack.succeed("numbers", 5)
    stack.fail("breaks_late_copied", job_id=job_id)
    assert stack.count(job_id) == 5
    assert stack.registry(job_id)["task"] == "numbers"


def test_the_slot_works_on_after_each_kind_of_failure(stack):
    for task, args in (
        ("divide", [0]),
        ("breaks_late_copied", []),
        ("bad_syntax", []),
        ("timed", [30]),
        ("max_rows_copied", []),
        ("no_columns", []),
        ("writes_raw", []),
        ("timed_rows", []),
        ("no_result", []),
    ):
        stack.fail(task, *args, queue="one")
        stack.succeed("numbers", 3, queue="one")


@pytest.mark.parametrize("task", TIMED)
def test_a_timeout_is_failure_that_names_the_limit_and_the_query_is_gone(stack, task):
    began = time.monotonic()
    job = stack.fail(task, 60)
    assert time.monotonic() - began < 3 * SLOW
    assert "300 ms" in job["error"]
    assert stack.running_query(job["job_id"]) == []


def test_a_timeout_while_rows_come_is_failure_and_publishes_nothing(stack):
    job = stack.fail("timed_rows")
    assert "300 ms" in job["error"]
    assert stack.running_query(job["job_id"]) == []
    nothing_left(stack, job["job_id"])


def test_the_requests_timeout_comes_before_the_tasks(stack):
    assert stack.run("timed", 0.6, timeout=20)["state"] == "SUCCESS"
    assert "1000 ms" in stack.fail("sleep", 60, timeout=1)["error"]


def test_a_query_just_below_its_timeout_succeeds(stack):
    stack.succeed("timed", 0.05)


@pytest.mark.parametrize(("rows", "state"), [(9, "SUCCESS"), (10, "SUCCESS"), (11, "FAILURE"), (100000, "FAILURE")])
def test_max_rows_is_a_failure_that_names_the_limit_and_publishes_nothing(stack, rows, state):
    job = stack.run("max_rows", rows)
    assert job["state"] == state
    if state == "FAILURE":
        assert "max_rows" in job["error"]
        assert "10" in job["error"]
        nothing_left(stack, job["job_id"])
    else:
        assert stack.count(job["job_id"]) == rows


def test_max_rows_holds_for_copied_rows_and_stops_the_query(stack):
    job = stack.fail("max_rows_copied")
    assert "max_rows" in job["error"]
    assert stack.running_query(job["job_id"]) == []
    nothing_left(stack, job["job_id"])


def test_max_bytes_is_a_failure_that_names_the_limit_and_publishes_nothing(stack):
    assert stack.run("max_bytes", 5)["state"] == "SUCCESS"
    job = stack.fail("max_bytes", 20)
    assert "max_bytes" in job["error"]
    nothing_left(stack, job["job_id"])


def test_max_rows_of_the_configuration_holds_for_tasks_that_name_none(stack, make_stack):
    own = make_stack(pg=stack.pg_source, config={"jobs": {"max_rows": 20, "max_bytes": "1KB", "retries": 1}})
    assert own.run("numbers", 20)["state"] == "SUCCESS"
    assert "max_rows" in own.fail("numbers", 21)["error"]
    assert "max_bytes" in own.fail("wide_rows", 5, 500)["error"]
    assert own.post("/tasks/numbers/jobs", {"args": ["1"]}).data["retries"] == 1


@pytest.mark.parametrize(("task", "args"), [("no_columns", []), ("no_columns_args", [True]), ("no_result", [])])
def test_a_query_without_columns_is_failure_that_says_so(stack, task, args):
    job = stack.fail(task, *args)
    assert "column" in job["error"]
    nothing_left(stack, job["job_id"])


def test_a_source_that_kills_the_session_is_a_transient_failure(stack):
    """pg_terminate_backend in mid-query: retried on a new connection."""
    job_id = stack.submit("sleep", 1, retries=1)
    (session,) = wait_until(lambda: stack.running_query(job_id), 10 * SLOW, "the query")
    stack.query("SELECT pg_terminate_backend(%s)", session["pid"], db="ledger")
    job = stack.wait(job_id)
    assert job["state"] == "SUCCESS", job
    assert job["attempt"] == 2


def test_an_administrator_who_cancels_the_query_makes_a_transient_failure(stack):
    job_id = stack.submit("sleep", 60)
    (session,) = wait_until(lambda: stack.running_query(job_id), 10 * SLOW, "the query")
    stack.query("SELECT pg_cancel_backend(%s)", session["pid"], db="ledger")
    job = stack.wait(job_id)
    assert job["state"] == "FAILURE"
    assert "57014" in job["error"]


def test_a_results_database_that_is_away_is_waited_for(stack, make_stack):
    """The job waits in RETRY, costs no retry, and succeeds when the database is there; after outage_timeout it is FAILURE."""
    own = make_stack(pg=stack.pg_source, config={"worker": {"outage_timeout": "1s"}, "results": {"reports": {"connect_timeout": "1s"}}})
    name = own._dbs["reports"]
    own.succeed("nothing_asked")
    with stack.db("postgres") as admin:
        admin.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_away"') if not sessions(own, name) else rename(own, admin, name)
        job_id = own.submit("nothing_asked")
        own.wait(job_id, states=["RETRY"])
        assert "reports" in own.job(job_id)["error"]
        admin.execute(f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')
        assert own.wait(job_id)["state"] == "SUCCESS"
        rename(own, admin, name)
        job = own.fail("nothing_asked")
        assert "results database 'reports'" in job["error"]
        admin.execute(f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')


def sessions(own, name):
    return own.query("SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", name, db="ledger")


def rename(own, admin, name):
    """Renames the database away, against all who are or come connected to it."""

    def attempt():
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            admin.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_away"')
        except psycopg.errors.ObjectInUse:
            return False
        return True

    wait_until(attempt, 10, "rename")


def test_a_source_that_cannot_be_reached_is_named(stack, make_stack):
    own = make_stack(
        pg=stack.pg_source,
        config={
            "worker": {"outage_timeout": "500ms"},
            "sources": {"mirror": {"dsn": "postgresql://u:very-secret@127.0.0.1:1/x", "connect_timeout": "1s"}},
        },
    )
    job = own.fail("which_source", db="mirror")
    assert "source 'mirror'" in job["error"]
    assert "very-secret" not in job["error"]
    assert own.run("which_source", db="ledger")["state"] == "SUCCESS"
    for program in own.programs():
        assert "very-secret" not in program.log_text()


def test_values_of_a_failed_query_are_not_logged(stack):
    """The database's text of a wrong value quotes it: the job's state shows it, the log does not."""
    secret = uid("secret-value")
    job = stack.fail("divide", secret)
    assert secret in job["error"]
    assert secret not in stack.workers[0].log_text()
