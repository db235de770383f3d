"""GET /jobs/queue/{queue}: the jobs that have not begun."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from support import ZERO_TIME, uid, wait_until


@pytest.fixture
def queue(stack):
    """A queue that no worker serves; emptied afterwards."""
    name = uid("queue")
    yield name
    while entries := stack.get(f"/jobs/queue/{name}?limit=1000").data:
        for entry in entries:
            assert stack.delete(f"/jobs/{entry['ID']}").status == 200


def ids(answer):
    assert answer.status == 200, answer
    return [entry["ID"] for entry in answer.data]


def test_a_queue_that_nobody_knows_is_empty(stack):
    assert stack.get(f"/jobs/queue/{uid('unknown')}").data == []


def test_an_entry_has_the_names_and_forms_that_the_go_client_decodes(stack, queue):
    job_id = stack.submit("echo", "secret", "x", queue=queue, retries=3, timeout=90, eta="2034-05-06 07:08:09")
    (entry,) = stack.get(f"/jobs/queue/{queue}").data
    assert entry == {
        "ID": job_id,
        "OnSuccessIDs": None,
        "Status": "scheduled",
        "Queue": queue,
        "Schedule": "",
        "MaxRetry": 3,
        "Retried": 0,
        "PrevErr": "",
        "ProcessedAt": ZERO_TIME,
        "PrevJobResult": None,
        "Job": {
            "OnSuccess": None,
            "Task": "echo",
            "Payload": None,
            "OnError": None,
            "Opts": {
                "ID": job_id,
                "ETA": "2034-05-06T07:08:09Z",
                "Queue": queue,
                "MaxRetries": 3,
                "Schedule": "",
                "Timeout": 90_000_000_000,
            },
        },
    }
    assert list(entry) == [
        "ID",
        "OnSuccessIDs",
        "Status",
        "Queue",
        "Schedule",
        "MaxRetry",
        "Retried",
        "PrevErr",
        "ProcessedAt",
        "PrevJobResult",
        "Job",
    ]


def test_a_job_without_eta_is_queued_and_has_the_zero_time(stack, queue):
    stack.submit("echo", "a", "b", queue=queue)
    (entry,) = stack.get(f"/jobs/queue/{queue}").data
    assert entry["Status"] == "queued"
    assert entry["Job"]["Opts"]["ETA"] == ZERO_TIME
    assert entry["Job"]["Opts"]["Timeout"] == 0


def test_arguments_are_not_shown(stack, queue):
    stack.submit("echo", "my-secret-argument", "x", queue=queue)
    assert "my-secret-argument" not in str(stack.get(f"/jobs/queue/{queue}").body)


def test_jobs_are_listed_oldest_first(stack, queue):
    posted = [stack.submit("nothing_asked", queue=queue) for _ in range(12)]
    assert ids(stack.get(f"/jobs/queue/{queue}")) == posted


def test_scheduled_jobs_are_listed_too_by_the_time_they_were_queued(stack, queue):
    """To the millisecond: what came within the same one has no order between the two kinds."""
    later = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
    posted = []
    for eta in ("", later, ""):
        posted.append(stack.submit("nothing_asked", queue=queue, eta=eta))
        now = time.time_ns() // 1_000_000
        wait_until(lambda now=now: time.time_ns() // 1_000_000 > now, 1, "the next millisecond")
    answer = stack.get(f"/jobs/queue/{queue}")
    assert ids(answer) == posted
    assert [entry["Status"] for entry in answer.data] == ["queued", "scheduled", "queued"]


def test_pages_follow_each_other_without_gap_or_repetition(stack, queue):
    posted = [stack.submit("nothing_asked", queue=queue) for _ in range(7)]
    found, after = [], ""
    while page := ids(stack.get(f"/jobs/queue/{queue}?limit=3&after={after}")):
        assert len(page) <= 3
        found += page
        after = page[-1]
    assert found == posted


def test_a_page_has_a_default_bound(stack, queue):
    body = {"jobs": [{"task": "nothing_asked", "queue": queue} for _ in range(105)]}
    assert stack.post("/groups", body).status == 200
    assert len(stack.get(f"/jobs/queue/{queue}").data) == 100
    assert len(stack.get(f"/jobs/queue/{queue}?limit=1000").data) == 105


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1001",
        "limit=1.5",
        "limit=99999999999999999999",
        "after=a.b",
        "after=" + "x" * 56,
        "after=%zz",
    ],
)
def test_a_wrong_page_is_400(stack, query):
    answer = stack.get(f"/jobs/queue/default?{query}")
    assert answer.status == 400
    assert query.split("=")[0] in answer.message


def test_unknown_parameters_are_ignored_and_empty_ones_are_absent(stack, queue):
    posted = [stack.submit("nothing_asked", queue=queue)]
    assert ids(stack.get(f"/jobs/queue/{queue}?limit=&after=&more=1&x")) == posted


def test_a_job_that_has_begun_is_not_listed(stack):
    running = stack.submit("sleep", 30, queue="one")
    waiting = stack.submit("nothing_asked", queue="one")
    stack.wait(running, states=["STARTED"])
    assert ids(stack.get("/jobs/queue/one")) == [waiting]
    assert stack.delete(f"/jobs/{running}").status == 200
    stack.wait(waiting)
    assert ids(stack.get("/jobs/queue/one")) == []


def test_a_job_that_waits_for_its_retry_is_listed_with_its_last_error(stack):
    job_id = stack.submit("timed", 10, retries=50, queue="two")
    stack.wait(job_id, states=["RETRY"])
    entry = None
    for _ in range(50):
        found = {entry["ID"]: entry for entry in stack.get("/jobs/queue/two").data}
        if entry := found.get(job_id):
            break
    assert stack.delete(f"/jobs/{job_id}").status == 200
    assert entry
    assert entry["Retried"] >= 1
    assert "300 ms" in entry["PrevErr"]
    assert entry["MaxRetry"] == 50
