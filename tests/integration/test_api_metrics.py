"""GET /metrics: Prometheus text whose figures move by what was done."""

import time

import pytest
from support import uid, wait_until


@pytest.fixture
def moved(stack):
    """moved(name, **labels): by how much a figure has moved since the test began."""
    before = stack.metrics()

    def by(name, **labels):
        wanted = frozenset(labels.items())
        after = stack.metrics()
        return sum(value for (found, having), value in after.items() if found == name and having >= wanted) - sum(
            value for (found, having), value in before.items() if found == name and having >= wanted
        )

    return by


def test_the_text_is_valid_and_every_family_is_described(stack):
    status, text, headers = stack.request("GET", "/metrics")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    stack.metrics()
    names = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert names == {line.split(" ")[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert {
        "dungbeetle_jobs_accepted_total",
        "dungbeetle_jobs_finished_total",
        "dungbeetle_run_seconds",
        "dungbeetle_wait_seconds",
        "dungbeetle_rows_total",
        "dungbeetle_queue_waiting",
        "dungbeetle_queue_running",
        "dungbeetle_queue_oldest_seconds",
        "dungbeetle_workers_alive",
        "dungbeetle_http_requests_total",
    } <= names


def test_accepted_and_finished_jobs_and_rows_are_counted(stack, moved):
    for _ in range(3):
        stack.succeed("numbers", 5)
    stack.fail("divide", 0)
    stack.fail("echo")
    assert moved("dungbeetle_jobs_accepted_total", queue="default", task="numbers") == 3
    assert moved("dungbeetle_jobs_finished_total", task="numbers", state="SUCCESS") == 3
    assert moved("dungbeetle_jobs_finished_total", task="divide", state="FAILURE") == 1
    assert moved("dungbeetle_jobs_finished_total", task="echo", state="FAILURE") == 1
    assert moved("dungbeetle_rows_total") == 15


def test_retries_are_counted(stack, moved):
    stack.fail("timed_retries", 5)
    assert moved("dungbeetle_jobs_retried_total", task="timed_retries") == 2
    assert moved("dungbeetle_jobs_finished_total", task="timed_retries") == 1


def test_run_times_and_waits_are_histograms(stack, moved):
    stack.succeed("sleep", 0.3)
    assert moved("dungbeetle_run_seconds_count") == 1
    assert 0.3 <= moved("dungbeetle_run_seconds_sum") < 2
    assert moved("dungbeetle_wait_seconds_count") == 1
    assert moved("dungbeetle_run_seconds_bucket", le="+Inf") == 1
    buckets = sorted(
        (float(dict(labels)["le"]), value) for (name, labels), value in stack.metrics().items() if name == "dungbeetle_run_seconds_bucket"
    )
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert moved("dungbeetle_run_seconds_bucket", le="0.1") == 0


def test_queue_depth_and_age_are_shown_by_queue(stack):
    running = stack.submit("sleep", 60, queue="one")
    stack.wait(running, states=["STARTED"])
    waiting = [stack.submit("nothing_asked", queue="one") for _ in range(3)]
    later = stack.submit("nothing_asked", queue="one", eta="2036-01-01 00:00:00")
    began = time.monotonic()
    assert stack.metric("dungbeetle_queue_waiting", queue="one") == 3
    assert stack.metric("dungbeetle_queue_running", queue="one") == 1
    assert stack.metric("dungbeetle_queue_unstarted", queue="one") == 4
    age = wait_until(lambda: stack.metric("dungbeetle_queue_oldest_seconds", queue="one"), 5, "an age")
    assert age <= time.monotonic() - began + 2
    for job in [later, *waiting, running]:
        assert stack.delete(f"/jobs/{job}").status == 200
    wait_until(lambda: stack.metric("dungbeetle_queue_waiting", queue="one") == 0, 5, "empty queue")
    wait_until(lambda: stack.metric("dungbeetle_queue_running", queue="one") == 0, 5, "empty queue")
    assert stack.metric("dungbeetle_queue_oldest_seconds", queue="one") == 0


def test_workers_alive_and_slots(stack):
    assert stack.metric("dungbeetle_workers_alive") == 1
    assert stack.metric("dungbeetle_worker_slots") == 9


def test_requests_are_counted_by_route_and_status(stack, moved):
    for _ in range(2):
        stack.get(f"/jobs/{uid('unknown')}")
    stack.post("/tasks/nothing_asked/jobs", {"job_id": "a b"})
    stack.get("/nonsense")
    stack.call("PUT", "/tasks")
    assert moved("dungbeetle_http_requests_total", method="GET", route="/jobs/{id}", status="404") == 2
    assert moved("dungbeetle_http_requests_total", method="POST", route="/tasks/{task}/jobs", status="400") == 1
    assert moved("dungbeetle_http_requests_total", status="405") == 1
    assert moved("dungbeetle_http_requests_total", route="(none)", status="404") == 1
    assert moved("dungbeetle_http_requests_total", route="/metrics", status="200") >= 1


def test_a_clients_names_stay_inside_their_labels(stack):
    """Queue names are the client's: they cannot break the text."""
    queue = uid("a:b-c")
    job = stack.submit("nothing_asked", queue=queue)
    assert stack.metric("dungbeetle_queue_waiting", queue=queue) == 1
    assert stack.delete(f"/jobs/{job}").status == 200
